"""The public API of the app: the normalized events and the signals.

The names and attributes come from django-anymail's normalized tracking and inbound APIs, so that receivers
for Anymail run here unchanged.
"""

from collections.abc import Coroutine, Hashable, Iterable, Iterator
from inspect import iscoroutine
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.dispatch import Signal

from events_app.events import (
    AnymailInboundEvent,
    AnymailTrackingEvent,
    EventType,
    InboundEvent,
    RejectReason,
    TrackingEvent,
)
from events_app.receivers import (
    Connection,
    Receiver,
    base_name,
    is_same,
    names_of,
    numbered,
    own_path,
    receiver_key,
    stable_text,
)
from events_app.routes import Pattern, Route
from events_app.shared import tracing
from events_app.shared.log import failures

__all__ = [
    "AnymailInboundEvent",
    "AnymailTrackingEvent",
    "EventType",
    "InboundEvent",
    "RejectReason",
    "TrackingEvent",
    "inbound",
    "tracking",
]

#: The argument `esp_name` of every receiver.
ESP_NAME = "SendGrid"

#: The custom argument that carries our message id to SendGrid and back in every event.
#: The name is Anymail's, so that events of mails sent by Anymail keep their ids here.
MESSAGE_ID_ARG = "anymail_id"


class NamedReceiver(NamedTuple):
    """A connected receiver, and its name in the records of failures."""

    name: str
    receiver: Receiver

    def call(self, **arguments: Any) -> object:
        """Call the receiver. Of an async receiver, run the coroutine to its end and return its result."""
        result = self.receiver(**arguments)
        # The result decides: Django recognizes an async function, but no object with an async `__call__`.
        return async_to_sync(_wait)(result) if iscoroutine(result) else result


async def _wait(coroutine: Coroutine[Any, Any, object]) -> object:
    return await coroutine


class ReceiverSignal(Signal):
    """A signal with named receivers, so that a retry can call a single receiver.

    A receiver's name is its `dispatch_uid`, else its module and qualified name. A partial has the name of the
    function, and any other object the name of its class. The second receiver of a name gets "#2", in the
    order of connection.
    """

    def connect(
        self,
        receiver: Receiver,
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable | None = None,
    ) -> None:
        """Connect as Django does.

        Raises ValueError if another receiver has this `dispatch_uid`, where Django would ignore the second
        receiver.
        """
        self._connect(receiver, sender, weak, dispatch_uid, None)

    def named_receivers(self, sender: object) -> list[NamedReceiver]:
        """The receivers for `sender` that still exist, in the order of connection, one per name."""
        named = {
            connection.name: NamedReceiver(connection.name, receiver)
            for connection, receiver in self._connected()
            if connection.sender_id in (id(None), id(sender))  # id(None): connected for all senders
        }
        return list(named.values())

    def derived_names(self) -> list[str]:
        """The names that depend on the order of connection, or that do not name the receiver itself."""
        connected = list(self._connected())
        numbered = {connection.base for connection, _ in connected if connection.is_numbered}
        derived = (
            connection.name
            for connection, receiver in connected
            if connection.base is not None
            and (connection.base in numbered or connection.base != own_path(receiver))
        )
        return list(dict.fromkeys(derived))

    def chosen(self, event: Any, names: Iterable[str]) -> list[str]:
        """The connected receivers, out of these names, that the event goes to."""
        return list(names)

    def _connect(
        self,
        receiver: Receiver,
        sender: object,
        weak: bool,
        dispatch_uid: Hashable | None,
        route: Route | None,
    ) -> None:
        connected = list(self._connected())
        key, uid = receiver_key(receiver, dispatch_uid), stable_text(dispatch_uid)
        again = next((connection for connection, _ in connected if connection.receiver_key == key), None)
        # Under a dispatch_uid, ready() called twice may bring a new object of the same definition.
        name = again.name if again else uid
        for connection, other in connected:
            if uid and connection.name == name and not is_same(receiver, other):
                raise ValueError(
                    f"Another receiver is connected under the name {name!r}. "
                    "Give this one a name of its own: connect(..., dispatch_uid='...')."
                )
        if again and (route and route.patterns) != (again.route and again.route.patterns):
            raise ValueError(
                f"The receiver {name!r} is connected to other recipients. "
                "Connect it once: connect(..., to=['...', '...'])."
            )
        base = None if uid else base_name(receiver)
        if name is None:
            name = numbered(base_name(receiver), {connection.name for connection, _ in connected})
        super().connect(receiver, sender=sender, weak=weak, dispatch_uid=dispatch_uid)
        with self.lock:
            self.receivers = [
                entry if isinstance(entry, Connection) else Connection(entry, name, base, route)
                for entry in self.receivers
            ]

    def _connected(self) -> Iterator[tuple[Connection, Receiver]]:
        for connection in self.receivers:
            # A plain tuple of Django's: another thread is connecting the receiver.
            if isinstance(connection, Connection) and (receiver := connection.receiver) is not None:
                yield connection, receiver


class InboundSignal(ReceiverSignal):
    """A signal whose receivers may take the mail to some recipients of the envelope only."""

    def connect(
        self,
        receiver: Receiver,
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable | None = None,
        to: Pattern | Iterable[Pattern] | None = None,
    ) -> None:
        """Connect for the mail `to` these recipients; without `to`, for the mail that no route takes.

        A pattern is an address, with `*` for any text, in any ASCII letter case, or a compiled regular
        expression for the whole address.
        Raises ValueError and TypeError for a pattern that no address matches, and ValueError as
        `ReceiverSignal` does, also for a receiver that is connected to other recipients.
        """
        self._connect(receiver, sender, weak, dispatch_uid, None if to is None else Route(to))

    def chosen(self, event: InboundEvent, names: Iterable[str]) -> list[str]:
        """The receivers whose route takes a recipient. Those without a route, if no route takes a recipient.

        Each recipient is routed alone, so that the receivers do not depend on SendGrid posting a mail to
        two recipients once or twice. A mail without recipients is taken by no route.
        """
        names = list(names)
        routes = {
            connection.name: connection.route for connection, _ in self._connected() if connection.route
        }
        routes = {name: routes[name] for name in names if name in routes}
        recipients = dict.fromkeys(event.message.envelope_recipients)
        takers = {
            recipient: [name for name, route in routes.items() if route.takes(recipient)]
            for recipient in recipients
        }
        chosen = {name for taking in takers.values() for name in taking}
        if not takers or not all(takers.values()):
            chosen |= set(names) - routes.keys()
        return [name for name in names if name in chosen]


class ReportedSignal(Signal):
    """A signal of Django's kind. A worker names its receivers at the start, and reports failed ones."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        reported_signals.append(self)

    def receiver_names(self) -> list[str]:
        return names_of(self)

    def send_robust(self, sender: object, **named: Any) -> list[tuple[Any, Any]]:
        """Send as Django does. `fields`, if among the arguments, are fields of the report of a failure."""
        fields = named.pop("fields", {})
        with tracing.child(f"receivers of {self.name}", "INTERNAL", {}) as span:
            responses = super().send_robust(sender, **named)
            for _, response in responses:
                if isinstance(response, Exception):
                    span.fail(response)
        for receiver, response in responses:
            if isinstance(response, Exception):
                name = base_name(receiver)
                failures.report(
                    f"Receiver %s of {self.name} failed",
                    name,
                    error=response,
                    packages=failures.packages_of(receiver),
                    fields={"receiver": name, **fields},
                )
        return responses

    def _log_robust_failure(self, receiver: Receiver, err: Exception) -> None:
        """Log nothing: Django would log the message of the exception, which may contain an address."""


#: The signals of this kind, for the worker's report of its receivers.
reported_signals: list[ReportedSignal] = []

#: Sent by a worker for each stored event. Each receiver is called and retried on its own.
#: Arguments: event (a `TrackingEvent`), esp_name ("SendGrid"). Sender: the webhook view class.
tracking = ReceiverSignal()

#: Sent by a worker for each inbound mail. Each receiver is called and retried on its own. Receivers may be
#: connected to some recipients: `connect(..., to="support@*")`.
#: Arguments: event (an `InboundEvent`), esp_name ("SendGrid"). Sender: the webhook view class.
inbound = InboundSignal()

#: Sent once for a batch of new events, inside the transaction that stores the batch, before `tracking`. For
#: changes that must commit with the events; not for a project's own receivers.
#: Arguments: events (a list of `TrackingEvent`), received_at (the time of receipt of each event, in the same
#: order, by the clock of Redis), using (the database's alias). An exception of a receiver rolls back the
#: batch. A receiver returns None, or the `traceparent`s of the spans that sent the events' mails, by message
#: id.
stored = Signal()

#: Sent at the first reading of an inbound mail. A receiver that knows our messages returns the id of the
#: message that the mail replies to, or None.
#: Arguments: message (an `InboundMessage`).
answered = Signal()

#: The view class by the webhook's name, filled when the app is ready. A queued event has the webhook's name,
#: and a worker looks up the `sender` of the signal here.
webhook_views: dict[str, type] = {}
