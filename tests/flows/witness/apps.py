"""An app whose receivers write down every call, and one of them does what the test orders."""

import os

from django.apps import AppConfig

from events_app.signals import inbound, tracking
from sending_app.signals import post_send, send_failed


class WitnessConfig(AppConfig):
    name = "tests.flows.witness"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tests.flows.witness import faults, receivers  # noqa: PLC0415 (it needs the app's models)

        for name in os.environ["WITNESS_RECEIVERS"].split(","):
            tracking.connect(getattr(receivers, name), dispatch_uid=name)
        faults.install()
        inbound.connect(receivers.clerk, dispatch_uid="clerk")
        inbound.connect(receivers.reader, dispatch_uid="reader")
        post_send.connect(receivers.post_send)
        send_failed.connect(receivers.send_failed)
