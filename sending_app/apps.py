"""The app: connects to the signals of events_app, and registers its checks and the senders of its signals."""

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class SendingAppConfig(AppConfig):
    name = "sending_app"
    verbose_name = "SendGrid mail"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        if not apps.is_installed("events_app"):
            raise ImproperlyConfigured('sending_app needs events_app: add "events_app" to INSTALLED_APPS.')
        from events_app.shared import mail_probe  # noqa: PLC0415 (they need the app registry)
        from events_app.signals import answered, stored  # noqa: PLC0415
        from sending_app import checks, replies, signals  # noqa: F401, PLC0415
        from sending_app.backends import queued  # noqa: PLC0415

        # They declare facts.
        from sending_app.monitoring import (  # noqa: PLC0415
            circuits,  # noqa: F401
            content_keys,  # noqa: F401
            event_webhook,  # noqa: F401
            outbox,  # noqa: F401
            round_trip,
            sendgrid_account,  # noqa: F401
            silence,  # noqa: F401
            suppressions,  # noqa: F401
            workers,  # noqa: F401
        )
        from sending_app.outcome import events, notify  # noqa: PLC0415
        from sending_app.personal_data import declare_places  # noqa: PLC0415
        from sending_app.suppression import feed  # noqa: PLC0415

        declare_places()
        stored.connect(events.apply_events, dispatch_uid="sending_app.outcome.events")
        stored.connect(feed.apply_events, dispatch_uid="sending_app.suppression.feed")
        answered.connect(replies.answered, dispatch_uid="sending_app.replies")
        signals.backends[notify.QUEUED] = queued.EmailBackend
        mail_probe.probe = round_trip.follow
