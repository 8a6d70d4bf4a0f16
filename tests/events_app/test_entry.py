"""What was packed is unpacked as it was, and nonsense is an event."""

from hypothesis import given
from hypothesis import strategies as st

from events_app.stream import MOST_EVENTS, pack, unpack


@given(st.lists(st.binary(max_size=20), max_size=MOST_EVENTS * 3))
def test_packed_events_unpack_unchanged(events: list[bytes]) -> None:
    entries = [unpack(b"1-0", {b"d": b"tracking", b"r": packed}) for packed in pack(events)]
    assert [raw for entry in entries for raw in entry.events] == events
    assert all(0 < len(entry.events) <= MOST_EVENTS for entry in entries)


@given(st.binary())
def test_unpack_reads_any_bytes(nonsense: bytes) -> None:
    entry = unpack(b"1-0", {b"r": nonsense})
    assert all(isinstance(raw, bytes) for raw in entry.events)
