"""The webhook views SendGrid posts to."""

from events_app.views.inbound import SendGridInboundWebhookView
from events_app.views.tracking import SendGridTrackingWebhookView

__all__ = ["SendGridInboundWebhookView", "SendGridTrackingWebhookView"]
