"""A Django project whose web processes publish, and whose worker is a command: ``manage.py runworker``."""
