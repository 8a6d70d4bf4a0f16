"""One mail after another: leased, built, posted in no transaction, and its result recorded."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, transaction

from events_app.shared.database import DatabaseUnavailable
from sending_app import outbox
from sending_app.api import client, payload
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases
from sending_app.delivery.leases import Lease
from sending_app.exceptions import Outcome
from sending_app.models import Mail
from sending_app.outcome import record

logger = logging.getLogger(__name__)

# Outcomes that could not be written while the database was away. Of this process: should it die, their
# mails' leases end, and SendGrid's events tell.
_unwritten: deque[tuple[Lease, SendResult]] = deque()


def deliver(lane: Mail.Lane, seconds: float, wake_another: Callable[[], None]) -> Counter[str]:
    """Post what is due for so many seconds, at least one mail; answer how many came to which outcome.

    `wake_another` is called before the first post, where there is work for another worker beside this one.
    Raises DatabaseAway.
    """
    ends = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    while lease := leases.acquire(lane):
        if not outcomes and leases.anything_due(lane):
            wake_another()
        outcomes[_deliver(lease)] += 1
        if time.monotonic() >= ends:
            break
    return outcomes


def write_unwritten() -> None:
    """Write the outcomes that could not be written while the database was away."""
    for _ in range(len(_unwritten)):
        try:
            left = _unwritten.popleft()
        except IndexError:  # another thread of this process was faster
            return
        _write(*left)


def _deliver(lease: Lease) -> Outcome:
    result = _build_and_post(lease)
    _write(lease, result)
    return result.outcome


def _build_and_post(lease: Lease) -> SendResult:
    # Until it is posted SendGrid surely does not have it.
    worst = Outcome.RETRY
    try:
        body = _build_safely(lease)
        if isinstance(body, SendResult):
            return body
        worst = Outcome.UNKNOWN
        return client.post(lease.account, body)
    except BaseException as error:
        # A time limit, say. Whether SendGrid had the mail by then nobody knows.
        _write(lease, SendResult(worst, detail=f"The post was cut off: {type(error).__name__}."))
        raise


def _build_safely(lease: Lease) -> bytes | SendResult:
    """The body of the request, or what came of building it."""
    try:
        return build(lease)
    except (OperationalError, InterfaceError) as error:
        return SendResult(Outcome.RETRY, detail=f"The database went away: {type(error).__name__}.")
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        logger.exception("Mail %d cannot be built", lease.mail.pk)
        return SendResult(
            Outcome.FAILED, detail=f"The request cannot be built: {type(error).__name__}: {error}"
        )


def build(lease: Lease) -> bytes:
    """The body of the request that takes this mail."""
    message = lease.mail.message
    files = outbox.files_of(message) if lease.has_files else []
    return payload.encode(
        payload.build(outbox.shared_content_of(message), outbox.personalizations_of(lease.mail), files)
    )


def _write(lease: Lease, result: SendResult) -> None:
    """Raises DatabaseAway or SoftTimeLimitExceeded, and keeps what is to be written."""
    try:
        if result.outcome == Outcome.PAUSED:
            with transaction.atomic(using=outbox.using()):
                circuit_breaker.trip(lease.account, result, lease.is_probe)
                record.record_result(lease.mail, result)
            return
        # Where SendGrid has judged the mail, it takes the key.
        if lease.is_probe and result.status_code and result.outcome in (Outcome.ACCEPTED, Outcome.FAILED):
            circuit_breaker.close(lease.account)
        record.record_result(lease.mail, result)
    except (OperationalError, InterfaceError) as error:
        _unwritten.append((lease, result))
        raise DatabaseUnavailable(type(error).__name__) from error
    except SoftTimeLimitExceeded:
        _unwritten.append((lease, result))
        raise
