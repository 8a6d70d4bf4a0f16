"""The admin pages of events."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from events_app.admin import filters
from events_app.admin.actions import EVENT_ACTIONS
from events_app.admin.event_page import event_context
from events_app.admin.words import STATE_NAMES, delivery_word, type_word
from events_app.dispatch.filters import pending_of, state_of
from events_app.filters import search_events
from events_app.models import Event
from events_app.shared.admin.actions import Acting
from events_app.shared.admin.erase_link import WithEraseLink
from events_app.shared.admin.masking import MaskedAddresses
from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer


@admin.register(Event)
class EventAdmin(Acting, WithEraseLink, OwnPage, MaskedAddresses):
    change_form_template = "events_app/admin/event.html"
    row_actions = EVENT_ACTIONS
    preview_words: ClassVar = {"state": STATE_NAMES}
    command = "events"
    command_options: ClassVar = {**Acting.command_options, "event_type__exact": "--type"}
    address_fields = ("recipient",)
    list_display = ("id", "type", "recipient", "happened", "received", "delivery")
    list_filter = ("event_type", filters.DeliveryState, filters.FailedReceiver, filters.ReceivedAt)
    # Only the primary key has an index for the order of a list.
    sortable_by = ("id",)
    search_fields = ("recipient", "message_id")  # shows the search box; see `matching`
    search_help_text = (
        "An address or its beginning, a message id, an event's number; or, among the newest 100,000 events, "
        "its id at SendGrid"
    )
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Event]":
        events = super().get_queryset(request).select_related("pending")
        return events.defer("raw", "pending__receivers", "pending__error")

    def matching(self, request: HttpRequest, term: str) -> Q:
        return search_events(term, by_part=self.shows_addresses(request))

    def page_context(self, request: HttpRequest, row: Event) -> dict[str, Any]:
        return event_context(row, Viewer(request, self.opts.app_label))

    @admin.display(description="type")
    def type(self, event: Event) -> str:
        return type_word(event.event_type)

    @admin.display(description="happened")
    def happened(self, event: Event) -> str:
        return utc_time(event.timestamp)

    @admin.display(description="received")
    def received(self, event: Event) -> str:
        return utc_time(event.received_at)

    @admin.display(description="delivery")
    def delivery(self, event: Event) -> str:
        return delivery_word(state_of(pending_of(event)))
