"""What receivers of the outbox's signals are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sending_app import signals


class Told:
    """What came, in its order: the signal, and its arguments."""

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
def told() -> Iterator[Told]:
    heard = Told()
    signals.post_send.connect(heard.post_send)
    signals.send_failed.connect(heard.send_failed)
    try:
        yield heard
    finally:
        signals.post_send.disconnect(heard.post_send)
        signals.send_failed.disconnect(heard.send_failed)
