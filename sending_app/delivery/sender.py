"""Lease due mails, build and post each mail outside a transaction, and record the result."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, transaction

from events_app.shared.engine import Unwritten
from sending_app import outbox
from sending_app.api import client, payload
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases
from sending_app.delivery.leases import Lease
from sending_app.exceptions import Outcome
from sending_app.models import Mail
from sending_app.outcome import record

logger = logging.getLogger(__name__)

#: Results that wait for the database. If the process dies first, the leases expire and SendGrid's events
#: decide.
unwritten = Unwritten()


def deliver(lane: Mail.Lane, seconds: float, wake_another: Callable[[], None]) -> Counter[str]:
    """Post due mails for `seconds`, at least one mail, and count the outcomes.

    Calls `wake_another` before the first post if more mails are due. Raises DatabaseUnavailable.
    """
    deadline = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    while lease := leases.acquire(lane):
        if not outcomes and leases.anything_due(lane):
            wake_another()
        result = _build_and_post(lease)
        unwritten.write(partial(_record, lease, result))
        outcomes[result.outcome] += 1
        if time.monotonic() >= deadline:
            break
    return outcomes


def _build_and_post(lease: Lease) -> SendResult:
    # Before the post begins, SendGrid cannot have the mail.
    if_interrupted = Outcome.RETRY
    try:
        try:
            body = request_body(lease)
        except (OperationalError, InterfaceError) as error:
            return SendResult(Outcome.RETRY, detail=f"The database is unavailable: {type(error).__name__}.")
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            logger.exception("Mail %d cannot be built", lease.mail.pk)
            detail = f"The request cannot be built: {type(error).__name__}: {error}"
            return SendResult(Outcome.FAILED, detail=detail)
        if_interrupted = Outcome.UNKNOWN
        return client.post(lease.account, body)
    except BaseException as error:
        # For example a time limit.
        interrupted = SendResult(if_interrupted, detail=f"The post was interrupted: {type(error).__name__}.")
        unwritten.write(partial(_record, lease, interrupted))
        raise


def request_body(lease: Lease) -> bytes:
    """The body of the request that sends the leased mail."""
    message = lease.mail.message
    files = outbox.files_of(message) if lease.has_files else []
    return payload.encode(
        payload.build(outbox.shared_content_of(message), outbox.personalizations_of(lease.mail), files)
    )


def _record(lease: Lease, result: SendResult) -> None:
    if result.outcome == Outcome.PAUSED:
        with transaction.atomic(using=outbox.using()):
            circuit_breaker.trip(lease.account, result, lease.is_probe)
            record.record_result(lease.mail, result)
        return
    # SendGrid accepts the key if it accepts or refuses the mail.
    if lease.is_probe and result.status_code and result.outcome in (Outcome.ACCEPTED, Outcome.FAILED):
        circuit_breaker.close(lease.account)
    record.record_result(lease.mail, result)
