"""The app that `./dev chaos` adds to its deployment: each process records its work in files."""

from django.apps import AppConfig


class PulseConfig(AppConfig):
    name = "ground.pulse"

    def ready(self) -> None:
        from ground.pulse import signs  # noqa: F401, PLC0415 (it asks the environment)
