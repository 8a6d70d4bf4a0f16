"""The URLs of a deployment. The webhooks have the URLs that users of Anymail gave to SendGrid."""

from django.apps import apps
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from events_app.monitoring.doctor_page import doctor_page

_HOME = "admin:overview_app_overview_changelist" if apps.is_installed("overview_app") else "admin:index"

# In place of an error 500 while the database does not answer.
handler500 = "events_app.monitoring.unavailable.server_error"

urlpatterns = [
    # First, because each post would otherwise be matched against the admin's hundreds of patterns.
    path("anymail/", include("events_app.urls")),
    path("mail/", include("sending_app.urls")),
    path("", include("events_app.monitoring.urls")),
    path("admin/doctor/", doctor_page, name="sendgrid_doctor"),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name=_HOME)),
]
