"""Django's command line for the project. Needs ``django``; TASKROUTE_URL names the broker.

python -m examples.django_service.manage migrate --run-syncdb
python -m examples.django_service.manage runserver
python -m examples.django_service.manage runworker
"""

from __future__ import annotations

import os

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_service.settings")
    execute_from_command_line()
