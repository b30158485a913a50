"""The tables."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """What a customer wants."""

    item = models.CharField(max_length=100)
    is_packed = models.BooleanField(default=False)
