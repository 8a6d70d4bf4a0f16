"""Receivers that record their calls: of webhook events and inbound mails, and of the outbox's signals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from events_app.signals import InboundEvent, ReceiverSignal, TrackingEvent
from sending_app import signals


class Call(NamedTuple):
    """The arguments of a receiver that tell a first call from a retry or a replay."""

    event_id: str | None
    attempt: int = 1
    replay: bool = False


class Recorder:
    """A receiver that records its calls, does `does`, and raises: at every event, or at one of them."""

    def __init__(
        self,
        signal: ReceiverSignal,
        name: str = "log",
        fails_at: str | None = None,
        does: Callable[[], object] | None = None,
        fails: bool = False,
    ) -> None:
        self.calls: list[Call] = []
        self.fails_at = fails_at
        self.fails = fails
        self.does = does
        signal.connect(self, dispatch_uid=name, weak=False)

    @property
    def ids(self) -> list[str | None]:
        return [call.event_id for call in self.calls]

    def __call__(self, event: TrackingEvent | InboundEvent, attempt: int, replay: bool, **_: Any) -> None:
        self.calls.append(Call(event.event_id, attempt, replay))
        if self.does:
            self.does()
        if self.fails or event.event_id == self.fails_at:
            raise RuntimeError("the shop is closed")


class RecordedSignals:
    """Calls of `post_send` and `send_failed` in their order: the signal's name, and its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    @property
    def signals(self) -> list[str]:
        return [name for name, _ in self.calls]

    def post_send(self, sender: type, **arguments: Any) -> None:
        self.calls.append(("post_send", {"sender": sender, **arguments}))

    def send_failed(self, sender: type, **arguments: Any) -> None:
        self.calls.append(("send_failed", {"sender": sender, **arguments}))


@contextmanager
def recorded_signals() -> Iterator[RecordedSignals]:
    recorded = RecordedSignals()
    signals.post_send.connect(recorded.post_send)
    signals.send_failed.connect(recorded.send_failed)
    try:
        yield recorded
    finally:
        signals.post_send.disconnect(recorded.post_send)
        signals.send_failed.disconnect(recorded.send_failed)
