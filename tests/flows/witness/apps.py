"""An app whose receiver writes down every call, and can be made to wait in the middle."""

from django.apps import AppConfig


class WitnessConfig(AppConfig):
    name = "tests.flows.witness"

    def ready(self) -> None:
        from tests.flows.witness import receivers  # noqa: F401, PLC0415
