"""The project's URLs."""

from django.contrib import admin
from django.urls import include, path
from orders.views import announce

urlpatterns = [
    path("admin/", admin.site.urls),
    path("anymail/", include("events_app.urls")),
    path("announce/", announce, name="announce"),
]
