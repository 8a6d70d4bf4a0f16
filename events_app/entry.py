"""What one entry of the stream bears: some raw events of one post, and the door they came through.

An entry an event would cost Redis and us several times as much: each has an id, a node and an answer
of its own, whatever is in it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

#: Events an entry bears at most; they are read, stored and deleted together.
MOST_EVENTS = 100

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class Entry(NamedTuple):
    """Raw events as they wait in the stream."""

    id: bytes
    door: str
    events: list[bytes]

    @property
    def received_at(self) -> datetime:
        """When the door took them, by the clock of Redis."""
        milliseconds, _, _ = self.id.partition(b"-")
        try:
            return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            # Somebody put an entry here under an id of their own, and Redis counts on from there.
            return datetime.now(UTC)


def pack(events: Sequence[bytes]) -> list[bytes]:
    """What is to wait, an item an entry."""
    return [_encode(events[at : at + MOST_EVENTS]) for at in range(0, len(events), MOST_EVENTS)]


def events_in(entries: Sequence[Entry]) -> int:
    """How many events they bear together."""
    return sum(len(entry.events) for entry in entries)


def unpack(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """The entry that Redis has under this id. What is not ours is one event, to be filed as unreadable."""
    packed = fields.get(b"r", b"")
    try:
        events = _decode(packed) or [packed]
    except (msgspec.MsgspecError, ValueError):
        events = [packed]
    return Entry(id, fields.get(b"d", b"").decode("utf-8", "replace"), events)
