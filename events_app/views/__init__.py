"""The webhook views for SendGrid's posts, and the view of their access tokens."""

from events_app.views.inbound import SendGridInboundWebhookView
from events_app.views.token import SendGridTokenView
from events_app.views.tracking import SendGridTrackingWebhookView

__all__ = ["SendGridInboundWebhookView", "SendGridTokenView", "SendGridTrackingWebhookView"]
