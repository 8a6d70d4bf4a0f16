"""An app whose receivers write down every call, and one of them does what the test orders."""

import os

from django.apps import AppConfig

from events_app.signals import tracking
from sending_app.signals import post_send, send_failed


class WitnessConfig(AppConfig):
    name = "tests.flows.witness"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tests.flows.witness import receivers  # noqa: PLC0415 (it needs the app's models)

        for name in os.environ["WITNESS_RECEIVERS"].split(","):
            tracking.connect(getattr(receivers, name), dispatch_uid=name)
        post_send.connect(receivers.post_send)
        send_failed.connect(receivers.send_failed)
