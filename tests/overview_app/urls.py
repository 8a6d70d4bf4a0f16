"""An admin of a project that shows the overview alone."""

from django.contrib.admin import AdminSite
from django.urls import path

from overview_app.admin import OverviewAdmin
from overview_app.models import Overview

site = AdminSite()
site.register(Overview, OverviewAdmin)

urlpatterns = [path("admin/", site.urls)]
