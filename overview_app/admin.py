"""The page in the admin: the problems, the figures of each part, and charts."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from events_app.shared.admin.states import STYLE_SHEET
from events_app.shared.facts import Depth, Level
from events_app.shared.latest import Latest, latest_readings
from overview_app.charts.charts import Charts, draw_charts
from overview_app.charts.periods import PERIODS, Period, period_named
from overview_app.links import url_of
from overview_app.models import Overview
from overview_app.problems import problems
from overview_app.tiles import tiles

if TYPE_CHECKING:  # generic for the type checker alone
    _ModelAdmin = admin.ModelAdmin[Overview]
else:
    _ModelAdmin = admin.ModelAdmin

#: Seconds for each source of facts and each server.
PATIENCE = 2.0

#: Seconds between two updates of an open page.
INTERVAL = 10

# Many open pages ask the servers no more often than one. Charts change slowly, and cost more.
readings = latest_readings(Depth.FIGURES, PATIENCE, kept=3.0)
charts = {period: Latest(partial(draw_charts, period), kept=30.0) for period in PERIODS}


@admin.register(Overview)
class OverviewAdmin(_ModelAdmin):
    """A single page, in the place of a list."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(require_safe(self.page)), name=name)]

    def page(self, request: HttpRequest) -> HttpResponse:
        """The page; with `part` in the query, only the content that its script replaces."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if "part" in request.GET:
            return render(request, "overview_app/part.html", self._content(request))
        context = {
            **self.admin_site.each_context(request),
            **self._content(request),
            "title": "Overview",
            "style_sheet": STYLE_SHEET,
            "interval": INTERVAL,
            "readyz_url": url_of("sendgrid_monitoring:readyz"),
        }
        return render(request, "overview_app/overview.html", context)

    def _content(self, request: HttpRequest) -> dict[str, Any]:
        period, latest = period_named(request.GET.get("period")), readings.get()
        found = problems(latest)
        return {
            "now": f"{datetime.now(UTC):%H:%M:%S} UTC",
            "problems": [problem for problem in found if problem.level > Level.ADVICE],
            "advice": [problem for problem in found if problem.level == Level.ADVICE],
            "tiles": tiles(latest),
            "period": period,
            "periods": PERIODS,
            "charts": self._charts(period),
            "doctor_url": url_of("sendgrid_doctor") if self._may_examine(request) else "",
        }

    def _charts(self, period: Period) -> Charts | None:
        """None if the database of the counts does not answer: the problems tell why."""
        try:
            return charts[period].get()
        except (DatabaseError, InterfaceError):
            return None

    def _may_examine(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission
