"""The addresses of a deployment. The webhook's is the one Anymail's users gave SendGrid."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("anymail/", include("events_app.urls")),
]
