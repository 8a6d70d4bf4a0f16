"""Lease due mails, build and post each mail outside a transaction, and record the result."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import msgspec
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, transaction

from events_app.shared import tracing
from events_app.shared.counting import count, flush_when_due, observe
from events_app.shared.engine import Unwritten
from events_app.shared.log import failures
from events_app.shared.log.floods import limited_logger
from sending_app import counters, outbox
from sending_app.account import Account
from sending_app.api import client, payload
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases
from sending_app.delivery.leases import LeasedMail
from sending_app.encryption import Undecryptable
from sending_app.exceptions import Outcome
from sending_app.mail import span_attributes
from sending_app.models import Mail
from sending_app.outcome import record, refusals, rejections

logger = limited_logger(__name__)

_LONGEST_POSTPONEMENT = timedelta(seconds=circuit_breaker.FIRST_OPEN_TIME + 1)

#: Posts the body of a mail, and tells the outcome.
Post: TypeAlias = Callable[[Account, bytes], SendResult]

#: Results that wait for the database. If the process dies first, the leases expire and SendGrid's events
#: decide.
unwritten = Unwritten()


def post_due_mails(
    lane: Mail.Lane, seconds: float, wake_another: Callable[[], object], post: Post = client.post
) -> Counter[str]:
    """Post due mails for `seconds`, at least one mail, and count the outcomes.

    Calls `wake_another` before the first post if more mails are due, and at the end if SendGrid refused
    recipients and parts are due. Raises DatabaseUnavailable.
    """
    deadline = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    while leased := leases.acquire(lane):
        if not outcomes and leases.any_mail_due(lane):
            wake_another()
        with _span(leased.mail) as span:
            result = _build_and_post(leased, post)
            span.note("sendgrid.outcome", result.outcome.value)
            unwritten.write(partial(_record, leased, result))
        outcomes[result.outcome] += 1
        flush_when_due()
        if time.monotonic() >= deadline:
            # The parts of a split mail have become due after the look above.
            if result.refused is not None and leases.any_mail_due(lane):
                wake_another()
            break
    return outcomes


def _span(mail: Mail) -> tracing.Spanning:
    """The span of an attempt. The first receivers of the outcome are inside."""
    attributes: dict[str, str | int | list[str]] = {}
    if mail.traceparent:
        attributes = {"sendgrid.mail": mail.pk, "sendgrid.attempt": mail.attempts}
        # Reported when the request is built.
        with suppress(msgspec.MsgspecError, Undecryptable, ImproperlyConfigured):
            attributes |= span_attributes(outbox.personalizations_of(mail))
    return tracing.resume(mail.traceparent, "deliver mail", "CONSUMER", attributes)


def _build_and_post(leased: LeasedMail, post: Post) -> SendResult:
    # Before the post begins, SendGrid cannot have the mail.
    if_interrupted = Outcome.RETRY
    try:
        try:
            if leased.is_any_suppressed and not rejections.leave_out_suppressed(leased.mail):
                return SendResult(Outcome.REJECTED)
            body = request_body(leased)
        except (OperationalError, InterfaceError) as error:
            return SendResult(Outcome.RETRY, detail=f"The database is unavailable: {type(error).__name__}.")
        except (Undecryptable, ImproperlyConfigured) as error:
            logger.error("Mail %d waits: %s", leased.mail.pk, error, extra={"mail": leased.mail.pk})
            return SendResult(Outcome.RETRY, detail=f"{error}.")
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 (the mail fails, and no other)
            failures.report(
                "Mail %d cannot be built", leased.mail.pk, error=error, fields={"mail": leased.mail.pk}
            )
            detail = f"The request cannot be built: {type(error).__name__}: {error}"
            return SendResult(Outcome.FAILED, detail=detail)
        if_interrupted = Outcome.UNKNOWN
        started = time.perf_counter()
        result = post(leased.account, body)
        status = str(result.status_code or "none")
        observe(counters.API_REQUEST_SECONDS, [time.perf_counter() - started], status)
        return result
    except BaseException as error:
        # For example a time limit.
        interrupted = SendResult(if_interrupted, detail=f"The post was interrupted: {type(error).__name__}.")
        unwritten.write(partial(_record, leased, interrupted))
        raise


def request_body(leased: LeasedMail) -> bytes:
    """The body of the request that sends the leased mail."""
    message = leased.mail.message
    files = outbox.files_of(message) if leased.has_files else []
    return payload.encode_body(
        payload.build(outbox.shared_content_of(message), outbox.personalizations_of(leased.mail), files)
    )


def _record(leased: LeasedMail, result: SendResult) -> None:
    mail = leased.mail
    if result.outcome == Outcome.REJECTED:
        if leased.is_probe:
            circuit_breaker.end_probe(leased.account)
        return  # recorded with the events about the recipients
    if result.outcome == Outcome.PAUSED:
        if not (result.may_be_about_the_mail and record.others_passed(mail)):
            _pause(leased, result)
            count(counters.MAIL_OUTCOMES, mail.lane, result.outcome)
            return
        detail = (
            f"SendGrid accepts other mails of the account, and has twice refused this mail: {result.detail}"
        )
        result = replace(result, outcome=Outcome.FAILED, detail=detail)
    # SendGrid accepts the key if it accepts or refuses the mail.
    if leased.is_probe and result.status_code and result.outcome in (Outcome.ACCEPTED, Outcome.FAILED):
        circuit_breaker.close_circuit(leased.account)
    if result.refused is not None:
        refusals.record_refusal(mail, result)
    else:
        record.record_result(mail, result)
    # `outcome.notify` counts the final outcomes, which events and operators may decide too.
    if result.outcome in (Outcome.RETRY, Outcome.UNKNOWN):
        count(counters.MAIL_OUTCOMES, mail.lane, result.outcome)


def _pause(leased: LeasedMail, result: SendResult) -> None:
    with transaction.atomic(using=outbox.using()):
        open_time = circuit_breaker.trip(leased.account, result, leased.is_probe)
        if result.may_be_about_the_mail:
            # At most 16 seconds: with a new key, whose circuit is closed, the mail is due soon.
            record.postpone(leased.mail, result, min(open_time, _LONGEST_POSTPONEMENT))
        else:
            record.record_result(leased.mail, result)
