"""The URLs of webhooks and tokens, with and without the final slash: SendGrid follows no redirect."""

from django.urls import path

from events_app.views import SendGridInboundWebhookView, SendGridTokenView, SendGridTrackingWebhookView

app_name = "events_app"

_tracking = SendGridTrackingWebhookView.as_view()
_inbound = SendGridInboundWebhookView.as_view()
_token = SendGridTokenView.as_view()

urlpatterns = [
    path("sendgrid/tracking/", _tracking, name="sendgrid_tracking_webhook"),
    path("sendgrid/tracking", _tracking),
    path("sendgrid/inbound/", _inbound, name="sendgrid_inbound_webhook"),
    path("sendgrid/inbound", _inbound),
    path("sendgrid/token/", _token, name="sendgrid_token"),
    path("sendgrid/token", _token),
]
