"""Read-only admin pages of events, inbound mails, pending deliveries and dead letters."""

from django.contrib import admin
from django.db.models import Q
from django.utils.text import Truncator

from events_app.decode import Unreadable
from events_app.dispatch.kinds import Unavailable
from events_app.inbound import filters, store
from events_app.models import (
    AbstractPendingDelivery,
    Event,
    InboundMail,
    PendingDelivery,
    PendingInboundDelivery,
)
from events_app.shared.addresses import comparable
from events_app.shared.admin import ReadOnly

#: Characters of a mail's text on its page.
MOST_TEXT = 10_000


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("id", "event_type", "recipient", "message_id", "timestamp", "received_at")
    list_filter = ("event_type",)
    search_fields = ("recipient", "message_id")  # shows the search box; see `matching`
    search_help_text = "A recipient's whole address, or a whole message id"
    exclude = ("raw",)
    readonly_fields = ("posted",)
    ordering = ("-id",)

    def matching(self, term: str) -> Q:
        return Q(recipient=comparable(term)) | Q(message_id=term)

    @admin.display(description="As SendGrid posted it")
    def posted(self, event: Event) -> str:
        return bytes(event.raw).decode("utf-8", "backslashreplace")


@admin.register(InboundMail)
class InboundMailAdmin(ReadOnly):
    list_display = ("id", "received_at", "sender", "recipient", "subject", "answers", "duplicate_of_id")
    search_fields = ("sender", "message_id")  # shows the search box; see `matching`
    search_help_text = "A whole address, a Message-ID, a mail's number, or the id of the message it answers"
    exclude = ("digest",)
    readonly_fields = ("text",)
    ordering = ("-id",)

    def matching(self, term: str) -> Q:
        return filters.matching(term)

    @admin.display(description="Text, or the source of the HTML")
    def text(self, mail: InboundMail) -> str:
        try:
            message = store.parse_mail(mail).message
        except (Unreadable, Unavailable) as error:
            return str(error)
        return Truncator(message.text or message.html or "").chars(MOST_TEXT)


class AbstractPendingDeliveryAdmin(ReadOnly):
    list_display: tuple[str, ...] = ("state", "failures", "worker_deaths", "due", "pending_receivers")
    list_filter = ("state",)

    @admin.display(description="Receivers still to call")
    def pending_receivers(self, pending: AbstractPendingDelivery) -> str:
        return ", ".join(pending.receivers) or "all"


@admin.register(PendingDelivery)
class PendingDeliveryAdmin(AbstractPendingDeliveryAdmin):
    list_display = ("event_id", *AbstractPendingDeliveryAdmin.list_display)
    list_select_related = ("event",)


@admin.register(PendingInboundDelivery)
class PendingInboundDeliveryAdmin(AbstractPendingDeliveryAdmin):
    list_display = ("mail_id", *AbstractPendingDeliveryAdmin.list_display)
    list_select_related = ("mail",)
