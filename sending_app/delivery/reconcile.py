"""Reconcile mails without a known outcome: a dead worker, an unknown outcome, or an age over the limit.

SendGrid is not idempotent, so a second post of a mail may send the mail twice. An event that bears an id of
the mail proves acceptance (`outcome.events`). Missing events prove the opposite only if events would have
come: SendGrid retries a refused post of events for 24 hours, with growing gaps, and posts newer events at
once, so an event of a later mail proves nothing. A mail is sent again only if

- the wait for events is over, no event of the mail is stored, and no event from before the end of the wait
  is left in the stream;
- for every mail that the account had accepted around the attempt, an event came within half of the wait;
- from a fifth of the wait before the attempt to the end of the wait, an event of the account's mails came at
  least once in every fifth of the wait.

Two cases remain undetected. An interruption shorter than a fifth of the wait stops the events of this mail
alone, and no retry gets through in the rest of the wait. Or SendGrid takes longer than the wait for this
mail alone.
"""

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError
from django.db.models import F, Q, QuerySet
from redis import RedisError

from events_app import stream
from events_app.shared.counting import count
from events_app.shared.database import database_now, slices
from events_app.shared.log import failures
from sending_app import conf, counters, outbox, timeline
from sending_app.delivery import circuit_breaker
from sending_app.exceptions import Outcome
from sending_app.models import Mail, Recipient, still_in
from sending_app.outbox import using
from sending_app.outcome import activity, record

logger = logging.getLogger(__name__)

#: Seconds until the next try to reconcile a mail that stays unknown.
RECHECK_DELAY = 60

#: Unknown outcomes of a mail before the mail is parked for an operator.
MAX_UNKNOWN_OUTCOMES = 3

#: Mails in one query.
SLICE = 100

_RETRIED = "No event came while SendGrid's posts got through: SendGrid does not have the mail. Sent again."

_EVENTS_MAY_BE_LOST = (
    "SendGrid's posts may not have reached us then. Only an event of this mail or an operator can settle it."
)


# The counted outcome by the new state. `outcome.notify` counts failed mails.
_OUTCOMES: dict[str, str] = {
    Mail.State.UNKNOWN: Outcome.UNKNOWN,
    Mail.State.PARKED: "parked",
    Mail.State.WAITING: Outcome.RETRY,
}


def reconcile_all() -> Counter[str]:
    """Reconcile all due mails and count the new states. Remove the circuits of unused keys."""
    states: Counter[str] = Counter()
    oldest = database_now(using()) - timedelta(seconds=conf.MAX_AGE.get())
    too_old = Mail.objects.filter(
        Q(send_at=None) | Q(send_at__lte=oldest), state=Mail.State.WAITING, created_at__lte=oldest
    )
    for rows in (_expired_leases(), _unknown_due(), too_old):
        # Slices by id, so that a mail without a decision is read only once.
        for mail in chain.from_iterable(slices(rows.select_related("message"), SLICE)):
            try:
                state = reconcile_mail(mail)
                states[state] += 1
                if state != mail.state and (outcome := _OUTCOMES.get(state)):
                    count(counters.MAIL_OUTCOMES, mail.lane, outcome)
            except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
                raise
            except Exception as error:  # noqa: BLE001 (delays this mail alone)
                failures.report(
                    "Mail %d could not be reconciled", mail.pk, error=error, fields={"mail": mail.pk}
                )
                _unchanged(mail).update(due=database_now(using()) + timedelta(seconds=RECHECK_DELAY))
                states["undecidable"] += 1
    circuit_breaker.remove_unused()
    return states


def anything_to_reconcile() -> bool:
    """Whether a lease has expired, or the wait of an unknown mail is over."""
    return _expired_leases().exists() or _unknown_due().exists()


def _expired_leases() -> "QuerySet[Mail]":
    return Mail.objects.filter(state=Mail.State.POSTING, due__lte=database_now(using()))


def _unknown_due() -> "QuerySet[Mail]":
    return Mail.objects.filter(state=Mail.State.UNKNOWN, due__lte=database_now(using()))


def reconcile_mail(mail: Mail) -> str:
    """Decide about an expired lease, an unknown outcome, or a waiting mail over the age limit.

    `mail` was selected as one of these: the time is not checked again. Return the mail's new state, or
    "changed meanwhile".
    """
    now = database_now(using())
    if mail.state == Mail.State.POSTING:
        # The worker may have been posting until the end of the lease.
        changes = record.unknown_changes(mail, ended=mail.due)
        return _transition(mail, Mail.State.UNKNOWN, "The worker died or was interrupted.", changes)
    if mail.state == Mail.State.WAITING:
        age = timedelta(seconds=conf.MAX_AGE.get())
        why = f"Given up after {age}: {mail.error or 'no worker leased the mail.'}"
        changes = {"error": why, "log": record.log_with(mail, now, why)}
        return _state(record.fail(mail, _unchanged(mail), changes), Mail.State.FAILED)
    if why := _why_park(mail, now):
        logger.error("Mail %d is parked: its outcome is unknown", mail.pk, extra={"mail": mail.pk})
        return _transition(mail, Mail.State.PARKED, why, {"due": now})
    if why := _why_wait(mail, now):
        changes = {"due": now + timedelta(seconds=RECHECK_DELAY), "error": why}
        return _state(record.update_unless_accepted(_unchanged(mail), changes), Mail.State.UNKNOWN)
    return _transition(mail, Mail.State.WAITING, _RETRIED, {"due": now})


def _transition(mail: Mail, to: Mail.State, why: str, changes: dict[str, Any]) -> str:
    log = record.log_with(mail, database_now(using()), why)
    changes |= {"state": to, "error": why, "log": log}
    return _state(record.update_unless_accepted(_unchanged(mail), changes), to)


def _unchanged(mail: Mail) -> "QuerySet[Mail]":
    return Mail.objects.filter(still_in(mail.state), pk=mail.pk, attempt_token=mail.attempt_token)


def _state(changed: bool, to: Mail.State) -> str:
    return str(to.value) if changed else "changed meanwhile"


def _why_park(mail: Mail, now: datetime) -> str:
    """Why an operator must decide on the mail. Empty if events may still decide."""
    if not outbox.shared_content_of(mail.message).tracked:
        return "SENDGRID_GENERATE_MESSAGE_ID is off: no event can tell whether SendGrid has the mail."
    if mail.unknown_outcomes >= MAX_UNKNOWN_OUTCOMES:
        return f"Posted {mail.unknown_outcomes} times, each time with an unknown outcome."
    # The age of a scheduled mail counts from its send_at.
    if now - max(mail.created_at, mail.send_at or mail.created_at) > timedelta(seconds=conf.MAX_AGE.get()):
        return f"No proof came in time that SendGrid has the mail, or not. {mail.error}".strip()
    return ""


def _why_wait(mail: Mail, now: datetime) -> str:
    """Why missing events do not prove that SendGrid does not have the mail. Empty if they do."""
    began = record.events_expected(mail, mail.attempted_at)
    ended = record.events_expected(mail, mail.unknown_since)
    wait = timedelta(seconds=conf.UNKNOWN_WAIT.get())
    # The stream first: events that leave the stream meanwhile are visible to the later queries.
    try:
        oldest = stream.oldest()
    except RedisError as error:
        return f"Redis cannot tell whether events are waiting: {type(error).__name__}."
    # Events have the time of Redis, attempts the time of the database.
    redis_ahead = oldest.now - now
    # An event may come after the wait too: no event may have been waiting for over a tenth of the wait.
    stored_until = max(ended + wait, now - wait / 10) + redis_ahead
    if oldest.received_at and not stored_until <= oldest.received_at <= oldest.now:
        return "Events wait to be stored; an event of this mail may be among them."
    ids = Recipient.objects.filter(mail=mail).values_list("message_id", flat=True).distinct()
    # An event is stored even if applying the event to the mail failed (`outcome.events` logs the error).
    if timeline.is_proven(list(ids)):
        return "SendGrid has the mail: an event of the mail is stored, but could not be applied."
    if why := _missing_feedback(mail, began, ended, wait, redis_ahead):
        return why
    # A longer interruption may begin a fifth of the wait before the attempt, or during the wait.
    since, until = began + redis_ahead - wait / 5, ended + redis_ahead + wait
    if gap := activity.silence(mail.account, since, until, longest=wait / 5):
        first, last = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" for moment in gap)
        return f"No event came between {first} and {last} (UTC): {_EVENTS_MAY_BE_LOST}"
    return ""


def _missing_feedback(
    mail: Mail, began: datetime, ended: datetime, wait: timedelta, redis_ahead: timedelta
) -> str:
    """Why to wait if no event, or a late event, came for a mail that was accepted around the attempt."""
    around = (began - wait / 10, ended + wait / 10)
    accepted = Mail.objects.filter(
        account=mail.account, accepted_at__isnull=False, attempted_at__range=around
    )
    unscheduled = accepted.filter(Q(send_at=None) | Q(send_at__lte=F("attempted_at")))
    late = unscheduled.filter(
        Q(first_event_at=None) | Q(first_event_at__gt=F("attempted_at") + (wait / 2 + redis_ahead))
    )
    pk = late.order_by("attempted_at").values_list("pk", flat=True).first()
    if pk is None:
        return ""
    return (
        f"SendGrid accepted mail {pk} around the same time, but no event of mail {pk} came within "
        f"{wait / 2}: {_EVENTS_MAY_BE_LOST}"
    )
