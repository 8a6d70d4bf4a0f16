"""The admin pages of suppressed addresses."""

import logging
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from events_app.shared.admin.actions import Acting
from events_app.shared.admin.masking import MaskedAddresses
from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.states import STYLE_SHEET
from events_app.shared.admin.times import utc_time
from sending_app import conf
from sending_app.admin import suppression_filters as filters
from sending_app.admin.actions import SUPPRESSION_ACTIONS
from sending_app.admin.suppress_form import SuppressForm
from sending_app.admin.suppressed import REASON_NAMES, scope_words
from sending_app.admin.suppression_page import SOURCE_NAMES, shown_state, suppression_context
from sending_app.admin.viewer import MailViewer
from sending_app.filters import search_suppressions
from sending_app.models import Suppression

_log = logging.getLogger(__name__)


@admin.register(Suppression)
class SuppressionAdmin(Acting, OwnPage, MaskedAddresses):
    row_actions = SUPPRESSION_ACTIONS
    command = ""
    preview_words: ClassVar = {"reason": REASON_NAMES, "scope": {"": scope_words("")}}
    list_display = (
        *("id", "address", "shown_state", "shown_reason", "shown_scope"),
        *("shown_since", "shown_until", "shown_source"),
    )
    list_filter = (
        filters.StateOfSuppression,
        filters.ReasonOfSuppression,
        filters.ScopeOfSuppression,
        filters.SourceOfSuppression,
    )
    # Only the primary key has an index for the order of a list.
    sortable_by = ("id",)
    search_fields = ("address",)  # shows the search box; see `matching`
    search_help_text = "An address or its beginning"
    ordering = ("-id",)
    address_fields = ("address",)
    change_form_template = "sending_app/admin/suppression.html"

    def has_act_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perm("sending_app.act_on_suppressions"))

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return self.has_act_permission(request)

    def matching(self, request: HttpRequest, term: str) -> Q:
        return search_suppressions(term, by_part=self.shows_addresses(request))

    def page_context(self, request: HttpRequest, row: Suppression) -> dict[str, Any]:
        return suppression_context(row, MailViewer(request))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page that suppresses an address."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = SuppressForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            row = form.suppress()
            self.log_addition(request, row, "Suppressed.")
            _log.info("Suppressed 1 address (user: %s)", request.user.pk)
            messages.success(request, "The address is suppressed.")
            page = "change" if self.has_view_permission(request, row) else "add"
            args = [row.pk] if page == "change" else []
            return HttpResponseRedirect(reverse(f"admin:sending_app_suppression_{page}", args=args))
        context = {
            **self.admin_site.each_context(request),
            "title": "Suppress an address",
            "style_sheet": STYLE_SHEET,
            "opts": self.opts,
            "form": form,
            "is_off": not conf.SUPPRESSION.get(),
            "has_list": self.has_view_permission(request),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "sending_app/admin/suppress.html", context)

    @admin.display(description="State")
    def shown_state(self, row: Suppression) -> str:
        return shown_state(row)

    @admin.display(description="Reason")
    def shown_reason(self, row: Suppression) -> str:
        return REASON_NAMES[row.reason]

    @admin.display(description="Mail")
    def shown_scope(self, row: Suppression) -> str:
        return scope_words(row.scope)

    @admin.display(description="Since")
    def shown_since(self, row: Suppression) -> str:
        return utc_time(row.since)

    @admin.display(description="Until")
    def shown_until(self, row: Suppression) -> str:
        return utc_time(row.until) if row.until else ""

    @admin.display(description="By")
    def shown_source(self, row: Suppression) -> str:
        return SOURCE_NAMES[row.source]
