"""The app: registers its checks and the senders of its signals."""

from django.apps import AppConfig


class EventsAppConfig(AppConfig):
    name = "events_app"
    verbose_name = "SendGrid events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # They need the app registry.
        from events_app import checks, own_events, redis_checks, signals, views  # noqa: F401, PLC0415
        from events_app.monitoring import (  # noqa: F401, PLC0415 (they declare facts)
            backlog,
            broker,
            clocks,
            configuration,
            counted,
            database,
            dead_letters,
            deliveries,
            duplicates,
            event_table,
            redis_memory,
            redis_server,
            settings,
            stream_key,
            versions,
            workers,
        )
        from events_app.personal_data import events, inbound, tables  # noqa: PLC0415
        from events_app.shared import own_events as shared_own_events  # noqa: PLC0415
        from events_app.shared.personal_data import registry  # noqa: PLC0415
        from events_app.worker.install import install  # noqa: PLC0415

        for view in (views.SendGridTrackingWebhookView, views.SendGridInboundWebhookView):
            signals.webhook_views[view.webhook] = view
        for place in (events.PLACE, inbound.MAILS, inbound.FILES, *tables.places()):
            registry.declare(place)
        # A receiver of a view's events gets the events of ours too.
        signals.webhook_views[shared_own_events.WEBHOOK] = views.SendGridTrackingWebhookView
        shared_own_events.keep = own_events.keep
        install()
