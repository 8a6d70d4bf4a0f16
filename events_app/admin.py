"""Events and owed work, to look at. Nothing here can be changed by hand."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from events_app.models import Event, Work

if TYPE_CHECKING:  # generic for the type checker alone
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator


class Capped(_Paginator):
    """Pages of the first so many rows: counting a large table takes longer than reading the page."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found: int = rows.order_by().values("pk")[: self.MOST].count()
        return found


class ReadOnly(_ModelAdmin):
    """What may be looked at."""

    show_full_result_count = False
    paginator = Capped

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("id", "event_type", "recipient", "message_id", "timestamp", "received_at")
    list_filter = ("event_type",)
    search_fields = ("recipient", "message_id")  # shows the box; get_search_results looks
    search_help_text = "A recipient's whole address, or a whole message id"
    exclude = ("raw",)
    readonly_fields = ("posted",)
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Event]", search_term: str
    ) -> "tuple[QuerySet[Event], bool]":
        """Whole values alone: the two columns have an index, and a table of millions is not for scanning."""
        term = search_term.strip()
        if term:
            queryset = queryset.filter(Q(recipient=term.lower()) | Q(message_id=term))
        return queryset, False

    @admin.display(description="As SendGrid posted it")
    def posted(self, event: Event) -> str:
        return bytes(event.raw).decode("utf-8", "backslashreplace")


@admin.register(Work)
class WorkAdmin(ReadOnly):
    list_display = ("event_id", "state", "failures", "lapses", "due", "owed_to")
    list_filter = ("state",)
    list_select_related = ("event",)

    @admin.display(description="Receivers it is owed to")
    def owed_to(self, work: Work) -> str:
        return ", ".join(work.receivers) or "all"
