"""The host's app: its receivers are connected when Django is ready."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "tests.host.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tests.host.shop import receivers  # noqa: F401, PLC0415 (it needs the app's models)
