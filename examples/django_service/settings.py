"""The least that Django needs."""

from __future__ import annotations

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "not for production")
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
INSTALLED_APPS = ["examples.django_service.shop.apps.ShopConfig"]
ROOT_URLCONF = "examples.django_service.shop.views"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", "shop.sqlite3")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
