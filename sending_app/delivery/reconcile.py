"""Mails that no worker will finish: the worker is gone, the outcome is unknown, or the mail is too old.

SendGrid has no idempotency, so what may have been taken is not simply sent again. Its events tell: one that
bears an id of the mail makes it accepted (`events`). The lack of events proves only something if events
would have come. SendGrid repeats a refused post for 24 hours, with growing gaps, while it posts newer events
at once: a later mail that has been heard of proves nothing. So a mail is sent again only if

- the wait for its events is over, no event of it is stored, and none that reached the webhook by then still
  waits in the stream;
- every mail that the account had accepted around the attempt was heard of within half of the wait;
- from a fifth of the wait before the attempt to the end of the wait, an event of the account's mails came at
  least once in each fifth of the wait.

An interruption that these do not see is shorter than a fifth of the wait. It must have struck the post of
this mail and of no neighbour, and no repeat of the post got through in the rest of the wait. They do not see
either that SendGrid itself takes longer than the wait over this mail, and over no neighbour.
"""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError
from django.db.models import F, Q, QuerySet
from redis import RedisError

from events_app import stream
from events_app.shared.database import database_now, slices
from sending_app import conf, outbox, timeline
from sending_app.delivery import circuit_breaker
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import activity, record

logger = logging.getLogger(__name__)

#: Seconds until it is looked again, where nothing can be decided.
RECHECK_DELAY = 60

#: How often a mail is posted with unknown outcome before a person is to decide.
MAX_UNKNOWN_OUTCOMES = 3

#: Mails that are read in one go.
SLICE = 100

_SENT_AGAIN = "No event came while SendGrid's posts got through: SendGrid does not have it. It is sent again."

_MAY_NOT_HAVE_COME = (
    "SendGrid's posts may not have reached us then. Only an event of this mail, or a person, can settle it."
)


def reconcile_all() -> Counter[str]:
    """Reconcile all that is due; answer how many came to which state. Remove the circuits of unused keys."""
    did: Counter[str] = Counter()
    for resolve, rows in (
        (_mark_unknown, _expired_leases()),
        (_resolve, _unknown_due()),
        (_fail_too_old, _too_old()),
    ):
        # Each once: those on which nothing could be decided stay where they are.
        for mail in chain.from_iterable(slices(rows.select_related("message"), SLICE)):
            did[_isolated(resolve, mail)] += 1
    circuit_breaker.remove_unused()
    return did


def anything_due() -> bool:
    """Whether a worker is gone with a mail, or it is time to decide on one."""
    return _expired_leases().exists() or _unknown_due().exists()


def _isolated(resolve: Callable[[Mail], str], mail: Mail) -> str:
    """A mail on which nothing can be decided is in the way of no other."""
    try:
        return resolve(mail)
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception:
        logger.exception("Nothing can be decided on mail %d", mail.pk)
        _unchanged(mail).update(due=database_now(using()) + timedelta(seconds=RECHECK_DELAY))
        return "undecidable"


def _expired_leases() -> "QuerySet[Mail]":
    return _mails().filter(state=Mail.State.POSTING, due__lte=database_now(using()))


def _unknown_due() -> "QuerySet[Mail]":
    return _mails().filter(state=Mail.State.UNKNOWN, due__lte=database_now(using()))


def _too_old() -> "QuerySet[Mail]":
    oldest = database_now(using()) - timedelta(seconds=conf.MAX_AGE.get())
    scheduled = Q(send_at=None) | Q(send_at__lte=oldest)
    return _mails().filter(scheduled, state=Mail.State.WAITING, created_at__lte=oldest)


def _mails() -> "QuerySet[Mail]":
    return Mail.objects.using(using())


def _mark_unknown(mail: Mail) -> str:
    why = "Its worker died over it, or was cut off."
    changes = {
        # Until its lease ended, the worker may have been at it.
        **record.unknown_changes(mail, ended=mail.due),
        "error": why,
        "log": record.log_with(mail, database_now(using()), why),
    }
    return _state(record.update_unless_accepted(_unchanged(mail), changes), Mail.State.UNKNOWN)


def _resolve(mail: Mail) -> str:
    now = database_now(using())
    if why := _why_park(mail, now):
        logger.error("Mail %d is parked: whether SendGrid has it nobody can tell", mail.pk)
        return _transition(mail, Mail.State.PARKED, now, why)
    if why := _why_wait(mail, now):
        again = now + timedelta(seconds=RECHECK_DELAY)
        return _state(
            record.update_unless_accepted(_unchanged(mail), {"due": again, "error": why}), Mail.State.UNKNOWN
        )
    return _transition(mail, Mail.State.WAITING, now, _SENT_AGAIN)


def _fail_too_old(mail: Mail) -> str:
    age = timedelta(seconds=conf.MAX_AGE.get())
    why = f"Given up after {age}: {mail.error or 'no worker came to it.'}"
    now = database_now(using())
    failed = record.fail(mail, _unchanged(mail), {"error": why, "log": record.log_with(mail, now, why)})
    return _state(failed, Mail.State.FAILED)


def _transition(mail: Mail, to: Mail.State, due: datetime, why: str) -> str:
    """To the state, with the reason in its log."""
    log = record.log_with(mail, database_now(using()), why)
    changes = {"state": to, "due": due, "error": why, "log": log}
    return _state(record.update_unless_accepted(_unchanged(mail), changes), to)


def _unchanged(mail: Mail) -> "QuerySet[Mail]":
    return _mails().filter(pk=mail.pk, state=mail.state, attempt_token=mail.attempt_token)


def _state(changed: bool, to: Mail.State) -> str:
    return str(to.value) if changed else "changed meanwhile"


def _why_park(mail: Mail, now: datetime) -> str:
    """Why waiting for events is of no use, or of no more."""
    if not outbox.shared_content_of(mail.message).tracked:
        return "SENDGRID_GENERATE_MESSAGE_ID is off: no event can tell whether SendGrid has it."
    if mail.unknown_outcomes >= MAX_UNKNOWN_OUTCOMES:
        return f"It was posted {mail.unknown_outcomes} times, and each time nobody knows what came of it."
    # A mail that is to be sent later is no older than that.
    if now - max(mail.created_at, mail.send_at or mail.created_at) > timedelta(seconds=conf.MAX_AGE.get()):
        return f"Nothing has shown in time whether SendGrid has it. {mail.error}".strip()
    return ""


def _why_wait(mail: Mail, now: datetime) -> str:
    """Why "no event came" does not prove that SendGrid does not have it."""
    began = record.events_expected(mail, mail.attempted_at)
    ended = record.events_expected(mail, mail.unknown_since)
    wait = timedelta(seconds=conf.UNKNOWN_WAIT.get())
    # In this order: what the first finds stored, the others see.
    try:
        oldest = stream.oldest()
    except RedisError as error:
        return f"Whether events wait cannot be seen: {type(error).__name__}."
    # Events bear the time of Redis, and attempts that of the database.
    ahead = oldest.now - now
    # After the wait events may come at any time: none may wait for long.
    stored_until = max(ended + wait, now - wait / 10) + ahead
    if oldest.received_at and not stored_until <= oldest.received_at <= oldest.now:
        return "Events wait to be stored; its own may be among them."
    ids = Recipient.objects.using(using()).filter(mail=mail).values_list("message_id", flat=True).distinct()
    # A fault of ours (`events` logs it) keeps an event from the mail, and not from being stored.
    if timeline.events_of(list(ids)):
        return "SendGrid has it: an event of it is stored, and could not be applied."
    return _missing_feedback(mail, began, ended, wait, ahead) or _feedback_gap(
        mail, began + ahead, ended + ahead, wait
    )


def _missing_feedback(mail: Mail, began: datetime, ended: datetime, wait: timedelta, ahead: timedelta) -> str:
    """Why nothing is decided where a mail that was accepted around the attempt was not heard of in time."""
    around = (began - wait / 10, ended + wait / 10)
    accepted = _mails().filter(account=mail.account, accepted_at__isnull=False, attempted_at__range=around)
    at_once = accepted.filter(Q(send_at=None) | Q(send_at__lte=F("attempted_at")))
    late = at_once.filter(
        Q(first_event_at=None) | Q(first_event_at__gt=F("attempted_at") + (wait / 2 + ahead))
    )
    pk = late.order_by("attempted_at").values_list("pk", flat=True).first()
    if pk is None:
        return ""
    return (
        f"SendGrid accepted mail {pk} around the same time, and no event of that came within {wait / 2}: "
        f"{_MAY_NOT_HAVE_COME}"
    )


def _feedback_gap(mail: Mail, began: datetime, ended: datetime, wait: timedelta) -> str:
    """Why nothing is decided where no event came for a while around the attempt. By the clock of Redis."""
    # An interruption that lasts longer may begin a fifth before, or in the midst of the wait.
    gap = activity.silence(mail.account, began - wait / 5, ended + wait, longest=wait / 5)
    if gap is None:
        return ""
    since, until = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" for moment in gap)
    return f"No event came between {since} and {until} (UTC): {_MAY_NOT_HAVE_COME}"
