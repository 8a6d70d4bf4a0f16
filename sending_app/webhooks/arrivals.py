"""Waits until the events of SendGrid's test are stored."""

import time

from django.db.models import QuerySet

from events_app.models import Event

#: The recipient of all events of the test. Twilio documents no address; the captured post has this one
#: (StrongGrid, Source/StrongGrid.UnitTests/WebhookParserTests.cs).
TEST_ADDRESS = "example@test.com"

#: Seconds between two looks at the database.
_PAUSE = 0.25


def newest() -> int:
    """The primary key of the newest stored test event; 0 without any."""
    newest: int | None = _events().order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def wait(after: int, seconds: float) -> int:
    """Wait for test events newer than the primary key `after`. Return the number; 0 if none came."""
    deadline = time.monotonic() + seconds
    while not (count := _events().filter(pk__gt=after).count()):
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    return count


def _events() -> "QuerySet[Event]":
    return Event.objects.filter(recipient=TEST_ADDRESS)
