"""Accounts that nobody posts to for now: SendGrid asked for patience, or the key does not work.

A pause is in the database, so it holds for all workers. When its time is over one of them tries; if that
works the pause is gone, if not it is longer. The others wait: many who knock with a bad key get an account
blocked (Twilio docs, "API Responses").
"""

import logging
import random
from datetime import timedelta

from django.db import transaction

from events_app.shared.database import clean, database_now
from sending_app.account import Account, usable
from sending_app.api.client import Outcome
from sending_app.models import Pause
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: Seconds of the first pause, where SendGrid names no time; each further one doubles them.
FIRST = 15

#: Seconds no pause is longer than, whatever SendGrid says.
LONGEST = 600


def shut() -> dict[str, bool]:
    """The accounts that are paused, by fingerprint, each with whether one worker may try it now."""
    paused = list(Pause.objects.using(using()))
    if not paused:  # as a rule, and this is asked often: the clock would be one more query
        return {}
    now = database_now(using())
    return {pause.account: pause.until <= now for pause in paused}


def may_try(account: Account) -> bool:
    """Whether the caller is the one who tries; the others wait until it must have had its answer."""
    now = database_now(using())
    over = Pause.objects.using(using()).filter(account=account.fingerprint, until__lte=now)
    patience = timedelta(seconds=sum(account.timeout) + 10)
    return bool(over.update(until=now + patience))


def begin(account: Account, outcome: Outcome, trying: bool) -> timedelta:
    """SendGrid has paused the account with this outcome; answer for how long nobody posts to it.

    `trying` says that the caller was let through a pause that there was already.
    """
    pauses = Pause.objects.using(using())
    with transaction.atomic(using=using()):
        now = database_now(using())
        # There is one from here on, and it is ours until the commit: several workers may be the first.
        fresh = Pause(account=account.fingerprint, alias=account.alias, since=now, until=now, failures=0)
        pauses.bulk_create([fresh], update_conflicts=True, unique_fields=["account"], update_fields=["alias"])
        known = pauses.get(account=account.fingerprint)
        failures = known.failures + 1 if trying or not known.failures else known.failures
        until = now + _length(failures, outcome.wait)
        if not trying:  # it was on its way when the pause began
            until = max(until, known.until)
        pauses.filter(account=account.fingerprint).update(
            until=until,
            failures=failures,
            status_code=outcome.status_code,
            reason=clean(outcome.detail),
        )
    _report(account, outcome, until - now)
    return until - now


def end(account: Account) -> None:
    """A post has worked."""
    if Pause.objects.using(using()).filter(account=account.fingerprint).delete()[0]:
        logger.info("SendGrid takes the mails of the mailer %r again", account.alias)


def forget_old_keys() -> None:
    """Remove the pauses of keys that no mailer has any more: no post will ever end them."""
    known = [one.fingerprint for one in usable()]
    # A day: this worker may have older settings than the others. While mails wait for a key, its pause is
    # never over for long.
    long_over = database_now(using()) - timedelta(days=1)
    Pause.objects.using(using()).filter(until__lt=long_over).exclude(account__in=known).delete()


def _length(failures: int, seconds: float | None) -> timedelta:
    if seconds is None:
        seconds = FIRST * 2.0 ** min(failures - 1, 10)
    # Never before SendGrid's time; spread after it, so that not all workers come in one moment.
    return timedelta(seconds=min(seconds, LONGEST) + random.uniform(0, 1))  # noqa: S311


def _report(account: Account, outcome: Outcome, length: timedelta) -> None:
    if outcome.status_code == 429:
        logger.warning("SendGrid asks the mailer %r to wait for %d s", account.alias, length.total_seconds())
        return
    logger.error(
        "SendGrid refuses the mailer %r with %s; its mails wait. Is its API key right, with the "
        '"Mail Send" permission? `manage.py outbox status` has SendGrid\'s own words.',
        account.alias,
        outcome.status_code,
    )
