"""Where the webhooks are. SendGrid follows no redirect, so each is there with and without the slash."""

from django.urls import path

from events_app.views import SendGridInboundWebhookView, SendGridTrackingWebhookView

app_name = "events_app"

_tracking = SendGridTrackingWebhookView.as_view()
_inbound = SendGridInboundWebhookView.as_view()

urlpatterns = [
    path("sendgrid/tracking/", _tracking, name="sendgrid_tracking_webhook"),
    path("sendgrid/tracking", _tracking),
    path("sendgrid/inbound/", _inbound, name="sendgrid_inbound_webhook"),
    path("sendgrid/inbound", _inbound),
]
