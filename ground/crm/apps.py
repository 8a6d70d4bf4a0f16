"""The demo's other app: it talks to a customer database that fails at times."""

from django.apps import AppConfig


class CrmConfig(AppConfig):
    name = "ground.crm"

    def ready(self) -> None:
        from ground.crm import receivers  # noqa: F401, PLC0415 (it asks the environment)
