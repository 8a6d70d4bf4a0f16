"""The admin pages of recipients."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from events_app.shared.admin.erase_link import WithEraseLink, erase_buttons
from events_app.shared.admin.links import link_to
from events_app.shared.admin.masking import MaskedAddresses
from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.times import utc_time
from sending_app.admin import words
from sending_app.admin.list_filters import OfMail
from sending_app.admin.suppressed import suppressed_now, suppression_links
from sending_app.admin.viewer import MailViewer
from sending_app.filters import search_recipients
from sending_app.models import Mail, Recipient
from sending_app.outcome.recipients import ENGAGEMENT_TIMES


@admin.register(Recipient)
class RecipientAdmin(WithEraseLink, OwnPage, MaskedAddresses):
    list_display = ("id", "address", "kind", "shown_status", "since", "of_mail")
    list_filter = (OfMail,)
    search_fields = ("address", "message_id")  # shows the search box; see `matching`
    search_help_text = "An address or its beginning, or a message id"
    ordering = ("-id",)
    sortable_by = ("id",)
    address_fields = ("address",)
    change_form_template = "events_app/admin/row.html"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Recipient]":
        rows = super().get_queryset(request).select_related("mail")
        return rows.only(*(field.name for field in Recipient._meta.concrete_fields), "mail__accepted_at")

    def matching(self, request: HttpRequest, term: str) -> Q:
        return search_recipients(term, by_part=self.shows_addresses(request))

    def page_context(self, request: HttpRequest, row: Recipient) -> dict[str, Any]:
        viewer = MailViewer(request)
        suppressed = suppression_links(suppressed_now([row.address])[row.address], viewer)
        facts = [
            ("Address", viewer.address(row.address)),
            ("As", row.kind),
            ("Mail", self.of_mail(row)),
            ("Since", self.since(row)),
            *_engagements(row),
            ("Suppressed now", suppressed),
            ("Message id", str(row.message_id)),
            *([("Events", _events(row))] if viewer.events else []),
        ]
        return {
            "title": f"Recipient {row.pk}",
            "subtitle": None,
            "state": self.shown_status(row),
            "error": row.reject_reason,
            "facts": facts,
            "buttons": erase_buttons(request),
        }

    @admin.display(description="Status")
    def shown_status(self, row: Recipient) -> str:
        return words.status_word(row.status, row.mail.accepted_at is not None, row.reject_reason)

    @admin.display(description="Since")
    def since(self, row: Recipient) -> str:
        return utc_time(row.status_at)

    @admin.display(description="Mail")
    def of_mail(self, row: Recipient) -> str:
        return link_to(Mail(pk=row.mail_id), f"mail {row.mail_id}")


def _engagements(row: Recipient) -> Iterator[tuple[str, str]]:
    for name, column in ENGAGEMENT_TIMES.items():
        if at := getattr(row, column):
            yield name.value.capitalize(), utc_time(at)


def _events(row: Recipient) -> str:
    events = reverse("admin:events_app_event_changelist", query={"q": str(row.message_id)})
    return format_html('<a href="{}">events of the message id</a>', events)
