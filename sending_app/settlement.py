"""Parts that no worker will finish: those whose worker is gone, whose outcome is unknown, who are too old.

SendGrid has no idempotency, so what may have been taken is not simply sent again. Its events tell: one that
bears an id of the part makes it accepted (`evidence`). Where none comes, that only means something if it
would have come: if mails that were accepted later have been heard of, and nothing that came waits unread.
"""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError
from django.db.models import Q, QuerySet
from redis import RedisError

from events_app import stream
from events_app.models import database_now
from events_app.slices import slices
from sending_app import conf, outbox, pauses, receipts
from sending_app.models import Part
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: Seconds an event may wait to be stored while "no event came" still means something.
MOST_BACKLOG = 60

#: Seconds until it is looked again, where nothing can be decided.
LOOK_AGAIN = 60

#: How often a part is posted with unknown outcome before a person is to decide.
MOST_UNKNOWNS = 3

#: Parts that are read in one go.
SLICE = 100

_SENT_AGAIN = "No event came, while those of later mails did: SendGrid does not have it. It is sent again."


def settle() -> Counter[str]:
    """Decide on all that is due; answer how many came to which state. Pauses that hold nobody go as well."""
    did: Counter[str] = Counter()
    for decide, rows in ((_lose, _lapsed()), (_decide, _undecided()), (_expire, _expired())):
        # Each once: those on which nothing could be decided stay where they are.
        for part in chain.from_iterable(slices(rows.select_related("message"), SLICE)):
            did[_alone(decide, part)] += 1
    pauses.forget_old_keys()
    return did


def anything_due() -> bool:
    """Whether a worker is gone with a part, or it is time to decide on one."""
    return _lapsed().exists() or _undecided().exists()


def _alone(decide: Callable[[Part], str], part: Part) -> str:
    """A part on which nothing can be decided is in the way of no other."""
    try:
        return decide(part)
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception:
        logger.exception("Nothing can be decided on part %d", part.pk)
        _unchanged(part).update(due=database_now(using()) + timedelta(seconds=LOOK_AGAIN))
        return "undecidable"


def _lapsed() -> "QuerySet[Part]":
    return _parts().filter(state=Part.State.POSTING, due__lte=database_now(using()))


def _undecided() -> "QuerySet[Part]":
    return _parts().filter(state=Part.State.UNKNOWN, due__lte=database_now(using()))


def _expired() -> "QuerySet[Part]":
    oldest = database_now(using()) - timedelta(seconds=conf.MAX_AGE.get())
    scheduled = Q(send_at=None) | Q(send_at__lte=oldest)
    return _parts().filter(scheduled, state=Part.State.WAITING, created_at__lte=oldest)


def _parts() -> "QuerySet[Part]":
    return Part.objects.using(using())


def _lose(part: Part) -> str:
    why = "Its worker died over it, or was cut off."
    changes = {
        "state": Part.State.UNKNOWN,
        "due": receipts.settle_from(part),
        "unknowns": part.unknowns + 1,
        "error": why,
        "log": receipts.logged(part, database_now(using()), why),
    }
    return _state(receipts.change(_unchanged(part), changes), Part.State.UNKNOWN)


def _decide(part: Part) -> str:
    now = database_now(using())
    if why := _why_never(part, now):
        logger.error("Part %d is parked: whether SendGrid has it nobody can tell", part.pk)
        return _move(part, Part.State.PARKED, now, why)
    if why := _why_not_yet(part, now):
        again = now + timedelta(seconds=LOOK_AGAIN)
        return _state(receipts.change(_unchanged(part), {"due": again, "error": why}), Part.State.UNKNOWN)
    return _move(part, Part.State.WAITING, now, _SENT_AGAIN)


def _expire(part: Part) -> str:
    age = timedelta(seconds=conf.MAX_AGE.get())
    why = f"Given up after {age}: {part.error or 'no worker came to it.'}"
    now = database_now(using())
    failed = receipts.fail(part, _unchanged(part), {"error": why, "log": receipts.logged(part, now, why)})
    return _state(failed, Part.State.FAILED)


def _move(part: Part, to: Part.State, due: datetime, why: str) -> str:
    """To the state, with the reason in its log."""
    log = receipts.logged(part, database_now(using()), why)
    changes = {"state": to, "due": due, "error": why, "log": log}
    return _state(receipts.change(_unchanged(part), changes), to)


def _unchanged(part: Part) -> "QuerySet[Part]":
    return _parts().filter(pk=part.pk, state=part.state, attempt=part.attempt)


def _state(changed: bool, to: Part.State) -> str:
    return str(to.value) if changed else "settled otherwise"


def _why_never(part: Part, now: datetime) -> str:
    """Why waiting for events is of no use, or of no more."""
    if not outbox.common_of(part.message).tracked:
        return "SENDGRID_GENERATE_MESSAGE_ID is off: no event can tell whether SendGrid has it."
    if part.unknowns >= MOST_UNKNOWNS:
        return f"It was posted {part.unknowns} times, and each time nobody knows what came of it."
    # A mail that is to be sent later is no older than that.
    if now - max(part.created_at, part.send_at or part.created_at) > timedelta(seconds=conf.MAX_AGE.get()):
        return "Nothing has shown in time whether SendGrid has it."
    return ""


def _why_not_yet(part: Part, now: datetime) -> str:
    """Why "no event came" does not mean that there is none."""
    try:
        oldest = stream.waits_since()
    except RedisError as error:
        return f"Whether events wait cannot be seen: {type(error).__name__}."
    began = max(moment for moment in (part.attempted_at, part.send_at, part.created_at) if moment)
    if oldest and oldest < max(began, now - timedelta(seconds=MOST_BACKLOG)):
        return "Events wait to be stored; its own may be among them."
    later = _parts().filter(account=part.account, accepted_at__gt=began, seen_at__isnull=False)
    later = later.filter(attempted_at__gt=began)
    if not later.exists():
        return "No event has come of any mail that was accepted later."
    return ""
