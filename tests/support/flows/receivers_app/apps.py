"""An app whose receivers record every call; some of them behave as the test orders."""

import os

from django.apps import AppConfig

from events_app.signals import inbound, tracking
from sending_app.signals import post_send, send_failed


class ReceiversAppConfig(AppConfig):
    name = "tests.support.flows.receivers_app"
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        super().import_models()
        # After the models of events_app, and before its tasks, which take their limits at their import.
        from tests.support.flows.receivers_app import waits  # noqa: PLC0415

        waits.install()

    def ready(self) -> None:
        from tests.support.flows.receivers_app import receivers, task_log, worker_faults  # noqa: PLC0415 (it needs the app's models)

        for name in os.environ["FLOW_RECEIVERS"].split(","):
            tracking.connect(getattr(receivers, name), dispatch_uid=name)
        worker_faults.install()
        task_log.install()
        inbound.connect(receivers.clerk, dispatch_uid="clerk")
        inbound.connect(receivers.reader, dispatch_uid="reader")
        inbound.connect(receivers.ticket_clerk, dispatch_uid="ticket_clerk", to="tickets+*@parse.example.com")
        post_send.connect(receivers.post_send)
        send_failed.connect(receivers.send_failed)
