"""Generated events have SendGrid's form."""

import itertools
from collections import Counter

from events_app.normalize import normalize
from events_app.signals import EventType
from fake_sendgrid.events import generate_events

EVENTS = generate_events(5000)


def test_history_makes_as_many_events_as_asked() -> None:
    assert [len(generate_events(count)) for count in (0, 1, 2, 999)] == [0, 1, 2, 999]


def test_the_same_seed_makes_the_same_events() -> None:
    assert generate_events(100) == generate_events(100) == EVENTS[:100]
    assert generate_events(100, seed=2) != EVENTS[:100]


def test_no_two_events_share_an_id() -> None:
    ids = Counter(event["sg_event_id"] for event in EVENTS)
    assert len(ids) == len(EVENTS)


def test_history_contains_every_event_type() -> None:
    kinds = {normalize(event).event_type for event in EVENTS}
    assert EventType.UNKNOWN not in kinds
    assert len({event["event"] for event in EVENTS}) == 9


def test_events_of_one_message_share_id_and_recipient() -> None:
    messages: dict[str, set[tuple[str, str]]] = {}
    for event in EVENTS:
        messages.setdefault(event["anymail_id"], set()).add((event["email"], event["sg_message_id"]))
    assert all(len(found) == 1 for found in messages.values())
    assert len(messages) < len(EVENTS)


def test_a_message_is_processed_before_it_is_delivered() -> None:
    for before, after in itertools.pairwise(EVENTS):
        if after["event"] == "delivered":
            assert before["event"] in ("processed", "deferred")
            assert before["timestamp"] < after["timestamp"]
