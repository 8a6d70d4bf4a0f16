"""The addresses of a deployment. The webhook's is the one Anymail's users gave SendGrid."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    # First: the admin has some hundred patterns, and each post would be held against them.
    path("anymail/", include("events_app.urls")),
    path("admin/", admin.site.urls),
]
