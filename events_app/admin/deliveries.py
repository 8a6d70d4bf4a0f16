"""The lists of dead letters and pending deliveries."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator

from events_app.admin import filters
from events_app.admin.actions import EVENT_ACTIONS, INBOUND_ACTIONS
from events_app.admin.delivery import failed_receivers
from events_app.admin.words import STATE_NAMES, delivery_word, type_word
from events_app.dispatch.filters import State, state_of
from events_app.models import AbstractPendingDelivery, PendingDelivery, PendingInboundDelivery
from events_app.shared.admin.actions import Acting
from events_app.shared.admin.links import link_to
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer

#: Failed receivers of a delivery in a list.
MOST_RECEIVERS = 3

#: Characters of an error in a list.
MOST_ERROR = 120


class AbstractPendingDeliveryAdmin(Acting):
    preview_words: ClassVar = {"state": STATE_NAMES}
    command_states = ("--state=pending", "--state=retrying", "--state=dead")
    list_display_links = None
    ordering = ("-pk",)

    @admin.display(description="delivery")
    def shown_state(self, pending: AbstractPendingDelivery) -> str:
        return delivery_word(state_of(pending))

    @admin.display(description="due")
    def shown_due(self, pending: AbstractPendingDelivery) -> str:
        return "–" if state_of(pending) is State.DEAD_LETTER else utc_time(pending.due)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Redirect to the page of the event or mail. That page stays when the delivery is done."""
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied
        row: Any = self.model._meta.get_field(self.model.ROW_FIELD).related_model
        return redirect(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", object_id)


def failed_column(viewer: Viewer) -> Callable[[AbstractPendingDelivery], str]:
    """The column of a list with the failed receivers."""

    @admin.display(description="failed receivers")
    def failed(pending: AbstractPendingDelivery) -> str:
        return _failed(pending, viewer)

    return failed


def _failed(pending: AbstractPendingDelivery, viewer: Viewer) -> str:
    """The failed receivers with their errors, or else why the delivery is pending."""
    failed = failed_receivers(pending, viewer)
    if not failed:
        return Truncator(viewer.line(pending.error) or ("replay" if pending.replay else "")).chars(MOST_ERROR)
    more = len(failed) - MOST_RECEIVERS
    return format_html(
        "{}{}",
        format_html_join(
            "",
            "<div><strong>{}</strong>: {}</div>",
            (
                (receiver.name, Truncator(receiver.error).chars(MOST_ERROR))
                for receiver in failed[:MOST_RECEIVERS]
            ),
        ),
        f"and {more} more" if more > 0 else "",
    )


@admin.register(PendingDelivery)
class PendingDeliveryAdmin(AbstractPendingDeliveryAdmin):
    row_actions = EVENT_ACTIONS
    command = "events"
    command_options: ClassVar = {**Acting.command_options, "type": "--type"}
    list_filter = (
        filters.PendingState,
        filters.PendingReceiver,
        filters.PendingType,
        filters.PendingReceivedAt,
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[PendingDelivery]":
        return super().get_queryset(request).select_related("event").defer("event__raw")

    def get_list_display(self, request: HttpRequest) -> Any:
        viewer = Viewer(request, self.opts.app_label)

        @admin.display(description="recipient")
        def recipient(pending: PendingDelivery) -> str:
            return viewer.address(pending.event.recipient)

        return (
            "shown_state",
            "event_link",
            "type",
            "failures",
            failed_column(viewer),
            recipient,
            "shown_due",
        )

    @admin.display(description="event")
    def event_link(self, pending: PendingDelivery) -> str:
        return link_to(pending.event, str(pending.pk))

    @admin.display(description="type")
    def type(self, pending: PendingDelivery) -> str:
        return type_word(pending.event.event_type)


@admin.register(PendingInboundDelivery)
class PendingInboundDeliveryAdmin(AbstractPendingDeliveryAdmin):
    row_actions = INBOUND_ACTIONS
    command = "inbound"
    list_filter = (filters.PendingState, filters.PendingInboundReceiver, filters.PendingReceivedAt)
    list_select_related = ("mail",)

    def get_list_display(self, request: HttpRequest) -> Any:
        viewer = Viewer(request, self.opts.app_label)

        @admin.display(description="from")
        def sender(pending: PendingInboundDelivery) -> str:
            return viewer.address(pending.mail.sender)

        @admin.display(description="subject")
        def subject(pending: PendingInboundDelivery) -> str:
            return viewer.line(pending.mail.subject)

        return (
            "shown_state",
            "mail_link",
            "failures",
            failed_column(viewer),
            sender,
            subject,
            "shown_due",
        )

    @admin.display(description="inbound mail")
    def mail_link(self, pending: PendingInboundDelivery) -> str:
        return link_to(pending.mail, str(pending.pk))
