"""The app of orders: its receivers are connected when Django is ready."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"

    def ready(self) -> None:
        from orders import receivers  # noqa: F401, PLC0415 (it needs the app's models)
