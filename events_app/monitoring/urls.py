"""The URLs that monitors ask, without a final slash, as their names are known."""

from django.urls import path

from events_app.monitoring import health, metrics

app_name = "sendgrid_monitoring"

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
]
