"""The demo's second app. Its receiver stands for one that calls an unreliable customer database (CRM)."""

from django.apps import AppConfig


class FlakyCrmConfig(AppConfig):
    name = "devstack.flaky_crm"

    def ready(self) -> None:
        from devstack.flaky_crm import receivers  # noqa: F401, PLC0415 (it reads the environment)
