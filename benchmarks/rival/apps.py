"""The rival's app. It connects the receiver that RIVAL_RECEIVER names."""

import os

from django.apps import AppConfig


class RivalConfig(AppConfig):
    name = "benchmarks.rival"

    def ready(self) -> None:
        from anymail.signals import tracking  # noqa: PLC0415 (as Django's apps do it)

        from benchmarks.rival import receivers  # noqa: PLC0415 (it needs the app's model)

        tracking.connect(getattr(receivers, os.environ["RIVAL_RECEIVER"]))
