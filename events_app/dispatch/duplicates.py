"""Notices where SendGrid's ids mislead `DEDUPE_BY="event_id"`, and counts these events.

An event posted again may have another id (sendgrid-nodejs issue 1435), and two different events may share an
id, as in some of SendGrid's samples. Best effort, of a sample of each batch: no failure here reaches the
caller.
"""

import time
import zlib
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import compress, islice

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError
from redis import RedisError

from events_app.conf import DEDUPE_BY
from events_app.decode import Unreadable, decode_object, dedupe_key
from events_app.models import Event, NewEvent
from events_app.shared import counters, redis
from events_app.shared.counting import count
from events_app.shared.eager import is_eager
from events_app.signals import EventType, TrackingEvent

#: New events of a batch that are looked up by their content. About 10 µs of the worker each.
SAMPLE = 25
#: Duplicates of a batch that are compared with the stored event.
MOST_COMPARED = 20

#: Seconds of a period: SendGrid posts again for a day. Redis has the contents of this period and the last, so
#: the events of a day at least. Not longer: an event removed after the shortest retention, of two days, may
#: come again and is new.
PERIOD = 24 * 3600
#: The contents in Redis of a period, in about 2 MB. With more events the sample becomes smaller.
MOST_CONTENTS = 20_000

# A sorted set for each period has the contents with the smallest draws: as each event's draw is always the
# same, an event is in the sample again when it comes again. The arguments are draws, each followed by a
# content. The reply has 1 for each content that was there.
_LOOK_UP = """
local known = {}
for i = 3, #ARGV, 2 do
    if redis.call('ZSCORE', KEYS[2], ARGV[i + 1])
        or redis.call('ZADD', KEYS[1], 'NX', ARGV[i], ARGV[i + 1]) == 0
    then known[#known + 1] = 1 else known[#known + 1] = 0 end
end
redis.call('ZREMRANGEBYRANK', KEYS[1], ARGV[1], -1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return known
"""

_ENGAGEMENT = frozenset({EventType.OPENED, EventType.CLICKED})


def notice_changed_ids(new: Iterable[TrackingEvent]) -> None:
    """Count the new events that differ from an earlier one in nothing but SendGrid's id."""
    if is_eager() or DEDUPE_BY.get() != "event_id" or redis.is_circuit_open():
        return
    # Without a time two events may well be equal. Without an id the content is the key already.
    drawn = [(_draw(event), event) for event in new if event.event_id and event.timestamp]
    if len(drawn) > SAMPLE:
        drawn = nsmallest(SAMPLE, drawn, key=lambda each: each[0])
    if not drawn:
        return
    period = int(time.time()) // PERIOD
    pairs = ((draw, dedupe_key(event.esp_event, "content")) for draw, event in drawn)
    try:
        known = redis.script(_LOOK_UP)(
            keys=[redis.key(f"contents:{period}"), redis.key(f"contents:{period - 1}")],
            args=[MOST_CONTENTS, 2 * PERIOD, *(argument for pair in pairs for argument in pair)],
            client=redis.for_webhooks(),
        )
    except (RedisError, ImproperlyConfigured):
        redis.open_circuit()
        return
    equal = [event.event_type in _ENGAGEMENT for _, event in compress(drawn, known)]
    count(counters.EVENTS_ID_CHANGED, by=equal.count(False))
    count(counters.EVENTS_ID_CHANGED_OPENED, by=equal.count(True))


def notice_reused_ids(duplicates: Sequence[NewEvent], using: str) -> None:
    """Count the duplicates by id that differ from the stored event of this id."""
    if not duplicates or is_eager() or DEDUPE_BY.get() != "event_id":
        return
    compared = list(islice((row for row in duplicates if row.event_id), MOST_COMPARED))
    try:
        keys = {row.key for row in compared}
        pairs = Event.objects.using(using).filter(key__in=keys).values_list("key", "raw")
        stored = {bytes(key): bytes(raw) for key, raw in pairs}
    except (DatabaseError, InterfaceError):
        return
    reused = [row for row in compared if _differ(row.raw, stored.get(row.key, row.raw))]
    count(counters.EVENTS_ID_REUSED, by=len(reused))


def forget_contents() -> None:
    """Remove the contents of earlier events from Redis: digests. Raises redis.RedisError."""
    period = int(time.time()) // PERIOD
    redis.for_workers().delete(redis.key(f"contents:{period}"), redis.key(f"contents:{period - 1}"))


def _draw(event: TrackingEvent) -> int:
    """A number from what the posts of an event share."""
    drawn_by = f"{event.esp_event.get('email')}{event.esp_event.get('timestamp')}"
    return zlib.crc32(drawn_by.encode("utf-8", "surrogatepass"))


def _differ(raw: bytes, other: bytes) -> bool:
    if raw == other:
        return False
    try:
        one_key, other_key = (dedupe_key(decode_object(each), "content") for each in (raw, other))
    except Unreadable:
        return True
    return one_key != other_key
