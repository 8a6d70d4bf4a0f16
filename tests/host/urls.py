"""The host's addresses."""

from django.urls import include, path

urlpatterns = [path("mail/", include("events_app.urls"))]
