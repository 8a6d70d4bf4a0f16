"""The pages of recipients: `include("sending_app.urls")`."""

from django.urls import URLPattern

app_name = "sending_app"

urlpatterns: list[URLPattern] = []
