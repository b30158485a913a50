"""The pages, and their addresses."""

from __future__ import annotations

from functools import partial
from typing import cast

from django.apps import apps
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST
from examples.django_service.shop.apps import ShopConfig
from examples.django_service.shop.events import Placed, placed
from examples.django_service.shop.models import Order


@require_POST
@transaction.atomic
def place(request: HttpRequest) -> JsonResponse:
    """Place an order. Publish once it is in the database: the worker would look for it in vain before."""
    order = Order.objects.create(item=request.POST["item"])
    shop = cast("ShopConfig", apps.get_app_config("shop"))
    event = placed(Placed(item=order.item), number=order.id)
    transaction.on_commit(partial(shop.publisher.publish, event))
    return JsonResponse({"number": order.id}, status=202)


urlpatterns = [path("orders", place)]
