"""The URLs of a deployment. The webhooks have the URLs that users of Anymail gave to SendGrid."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    # First, because each post would otherwise be matched against the admin's hundreds of patterns.
    path("anymail/", include("events_app.urls")),
    path("admin/", admin.site.urls),
]
