"""Filters beside the lists of events, inbound mails, and their deliveries."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from events_app import sql
from events_app.admin.words import STATE_NAMES
from events_app.dispatch import replay
from events_app.dispatch.filters import Filter, State, in_state, with_failed_receiver
from events_app.dispatch.kinds import EVENTS, Kind
from events_app.dispatch.leases import events_database
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import AbstractPendingDelivery
from events_app.shared import search
from events_app.shared.admin.list_filters import ChoiceFilter, TimeRange
from events_app.signals import EventType

#: Dead letters whose receivers a filter offers.
NEWEST = 1000


class ReceivedAt(TimeRange):
    """Events or inbound mails by the time of their receipt."""

    title = "time received"

    def between(
        self, rows: "QuerySet[Any]", since: datetime | None, until: datetime | None
    ) -> "QuerySet[Any]":
        return Filter(since=since, until=until).apply(rows)


class DeliveryState(ChoiceFilter):
    """Events or inbound mails by the state of their delivery."""

    title = "delivery"
    parameter_name = "state"
    options = STATE_NAMES

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return Filter(states=(choice,)).apply(rows)


class FailedReceiver(ChoiceFilter):
    """Events by a failed receiver.

    The choices are the connected receivers, the receivers of the newest dead letters, and the chosen one.
    """

    title = "failed receiver"
    parameter_name: str = "receiver"
    kind: ClassVar[Kind] = EVENTS

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[Any, str]]:
        dead_letters = sql.newest_dead_letters(self.kind.pending_model, events_database(), NEWEST, 1)
        failed = {name for name, end_of_error in dead_letters if end_of_error}
        # The link of a page may name another receiver: disconnected, and to be retried.
        chosen = request.GET.getlist(self.parameter_name)
        return [(name, name) for name in sorted(failed.union(replay.connected_receivers(self.kind), chosen))]

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return Filter(receiver=choice).apply(rows)


class FailedInboundReceiver(FailedReceiver):
    """Inbound mails by a failed receiver."""

    kind = INBOUND_MAILS


class PendingReceivedAt(TimeRange):
    """Deliveries by the time when their event or mail was received."""

    title = "time received"

    def between(
        self, rows: "QuerySet[Any]", since: datetime | None, until: datetime | None
    ) -> "QuerySet[Any]":
        return search.between(rows, f"{_model(rows).ROW_FIELD}__received_at", since, until)


class PendingState(ChoiceFilter):
    """Deliveries by their state."""

    title = "state"
    parameter_name = "state"
    options: ClassVar = {value: name for value, name in STATE_NAMES.items() if value != State.DONE}

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(in_state(State(choice), path=""))


class PendingReceiver(FailedReceiver):
    """Deliveries of events by a failed receiver."""

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return with_failed_receiver(rows, choice, path="")


class PendingInboundReceiver(PendingReceiver):
    """Deliveries of inbound mails by a failed receiver."""

    kind = INBOUND_MAILS


class PendingType(ChoiceFilter):
    """Deliveries by the type of their event."""

    title = "type"
    parameter_name = "type"
    options: ClassVar = {kind.value: kind.value for kind in EventType}

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(event__event_type=choice)


def _model(rows: "QuerySet[Any]") -> type[AbstractPendingDelivery]:
    return rows.model
