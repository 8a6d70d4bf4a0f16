"""The demo's other app: it talks to a customer database that fails at times."""

from django.apps import AppConfig


class FlakyCrmConfig(AppConfig):
    name = "devstack.flaky_crm"

    def ready(self) -> None:
        from devstack.flaky_crm import receivers  # noqa: F401, PLC0415 (it asks the environment)
