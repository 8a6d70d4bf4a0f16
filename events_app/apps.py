"""The app: registers its checks and the senders of its signals."""

from django.apps import AppConfig


class EventsAppConfig(AppConfig):
    name = "events_app"
    verbose_name = "SendGrid events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from events_app import checks, signals, views, worker  # noqa: F401, PLC0415 (they need the app registry)

        for view in (views.SendGridTrackingWebhookView, views.SendGridInboundWebhookView):
            signals.webhook_views[view.webhook] = view
        worker.install()
