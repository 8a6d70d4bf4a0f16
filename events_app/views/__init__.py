"""The webhook views for SendGrid's posts."""

from events_app.views.inbound import SendGridInboundWebhookView
from events_app.views.tracking import SendGridTrackingWebhookView

__all__ = ["SendGridInboundWebhookView", "SendGridTrackingWebhookView"]
