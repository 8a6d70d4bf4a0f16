"""The URLs of the webhooks, with and without the final slash: SendGrid follows no redirect."""

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
