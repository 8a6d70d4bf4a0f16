"""One part after another: claimed, built, posted in no transaction, and what came of it written down."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, transaction

from events_app.shared.database import DatabaseAway
from sending_app import outbox
from sending_app.api import client, payload
from sending_app.api.client import Outcome
from sending_app.delivery import circuit_breaker, leases
from sending_app.delivery.leases import Taken
from sending_app.exceptions import Verdict
from sending_app.models import Part
from sending_app.outcome import record

logger = logging.getLogger(__name__)

# Outcomes that could not be written while the database was away. Of this process: should it die, their
# parts' leases end, and SendGrid's events tell.
_unwritten: deque[tuple[Taken, Outcome]] = deque()


def deliver(lane: Part.Lane, seconds: float, call_another: Callable[[], None]) -> Counter[str]:
    """Post what is due for so many seconds, at least one part; answer how many came to which outcome.

    `call_another` is called before the first post, where there is work for another worker beside this one.
    Raises DatabaseAway.
    """
    ends = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    while taken := leases.take(lane):
        if not outcomes and leases.anything_due(lane):
            call_another()
        outcomes[_deliver(taken)] += 1
        if time.monotonic() >= ends:
            break
    return outcomes


def write_what_is_left() -> None:
    """Write the outcomes that could not be written while the database was away."""
    for _ in range(len(_unwritten)):
        try:
            left = _unwritten.popleft()
        except IndexError:  # another thread of this process was faster
            return
        _write(*left)


def _deliver(taken: Taken) -> Verdict:
    outcome = _build_and_post(taken)
    _write(taken, outcome)
    return outcome.verdict


def _build_and_post(taken: Taken) -> Outcome:
    # Until it is posted SendGrid surely does not have it.
    worst = Verdict.RETRY
    try:
        body = _built(taken)
        if isinstance(body, Outcome):
            return body
        worst = Verdict.UNKNOWN
        return client.post(taken.account, body)
    except BaseException as error:
        # A time limit, say. Whether SendGrid had the mail by then nobody knows.
        _write(taken, Outcome(worst, detail=f"The post was cut off: {type(error).__name__}."))
        raise


def _built(taken: Taken) -> bytes | Outcome:
    """The body of the request, or what came of building it."""
    try:
        return build(taken)
    except (OperationalError, InterfaceError) as error:
        return Outcome(Verdict.RETRY, detail=f"The database went away: {type(error).__name__}.")
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        logger.exception("Part %d cannot be built", taken.part.pk)
        return Outcome(Verdict.FAILED, detail=f"The request cannot be built: {type(error).__name__}: {error}")


def build(taken: Taken) -> bytes:
    """The body of the request that takes this part."""
    message = taken.part.message
    files = outbox.files_of(message) if taken.has_files else []
    return payload.encode(payload.build(outbox.common_of(message), outbox.envelopes_of(taken.part), files))


def _write(taken: Taken, outcome: Outcome) -> None:
    """Raises DatabaseAway or SoftTimeLimitExceeded, and keeps what is to be written."""
    try:
        if outcome.verdict == Verdict.PAUSED:
            with transaction.atomic(using=outbox.using()):
                circuit_breaker.begin(taken.account, outcome, taken.trying)
                record.file(taken.part, outcome)
            return
        # Where SendGrid has judged the mail, it takes the key.
        if taken.trying and outcome.status_code and outcome.verdict in (Verdict.ACCEPTED, Verdict.FAILED):
            circuit_breaker.end(taken.account)
        record.file(taken.part, outcome)
    except (OperationalError, InterfaceError) as error:
        _unwritten.append((taken, outcome))
        raise DatabaseAway(type(error).__name__) from error
    except SoftTimeLimitExceeded:
        _unwritten.append((taken, outcome))
        raise
