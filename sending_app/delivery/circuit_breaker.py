"""The circuit breaker of each account: open while SendGrid asks for patience, or the key does not work.

The row of an open circuit is in the database, so it holds for all workers. When its time is over (half-open)
one of them probes. If that works the circuit closes, if not it stays open for longer. The others wait: many
posts with a bad key get an account blocked (Twilio docs, "API Responses").
"""

import logging
import random
from datetime import timedelta

from django.db import transaction

from events_app.shared.database import clean, database_now
from sending_app.account import Account, usable
from sending_app.api.client import SendResult
from sending_app.models import OpenCircuit
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: Seconds a circuit stays open at first, where SendGrid names no time; each failed probe doubles them.
FIRST_OPEN_TIME = 15

#: Seconds a circuit stays open at the most, whatever SendGrid says.
MAX_OPEN_TIME = 600


def open_circuits() -> dict[str, bool]:
    """The accounts with an open circuit, by fingerprint, each with whether one worker may probe it now."""
    circuits = list(OpenCircuit.objects.using(using()))
    if not circuits:  # as a rule, and this is asked often: the clock would be one more query
        return {}
    now = database_now(using())
    return {circuit.account: circuit.probe_at <= now for circuit in circuits}


def start_probe(account: Account) -> bool:
    """Whether the caller makes the probe; the others wait until it must have had its answer."""
    now = database_now(using())
    over = OpenCircuit.objects.using(using()).filter(account=account.fingerprint, probe_at__lte=now)
    patience = timedelta(seconds=sum(account.timeout) + 10)
    return bool(over.update(probe_at=now + patience))


def trip(account: Account, result: SendResult, is_probe: bool) -> timedelta:
    """Open the account's circuit after this result; answer for how long nobody posts to it.

    `is_probe` says that the caller was let through a circuit that was open already.
    """
    circuits = OpenCircuit.objects.using(using())
    with transaction.atomic(using=using()):
        now = database_now(using())
        # The row is there from here on, and ours until the commit: several workers may be the first.
        fresh = OpenCircuit(
            account=account.fingerprint, alias=account.alias, opened_at=now, probe_at=now, failures=0
        )
        circuits.bulk_create(
            [fresh], update_conflicts=True, unique_fields=["account"], update_fields=["alias"]
        )
        known = circuits.get(account=account.fingerprint)
        failures = known.failures + 1 if is_probe or not known.failures else known.failures
        probe_at = now + _open_time(failures, result.wait)
        if not is_probe:  # it was on its way when the circuit opened
            probe_at = max(probe_at, known.probe_at)
        circuits.filter(account=account.fingerprint).update(
            probe_at=probe_at,
            failures=failures,
            status_code=result.status_code,
            reason=clean(result.detail),
        )
    _report(account, result, probe_at - now)
    return probe_at - now


def close(account: Account) -> None:
    """Close the circuit: a post has worked."""
    if OpenCircuit.objects.using(using()).filter(account=account.fingerprint).delete()[0]:
        logger.info("SendGrid takes the mails of the mailer %r again", account.alias)


def remove_unused() -> None:
    """Remove the circuits of keys that no mailer has any more: no post will ever close them."""
    known = [one.fingerprint for one in usable()]
    # A day: this worker may have older settings than the others. While mails wait for a key, its circuit is
    # never half-open for long.
    long_over = database_now(using()) - timedelta(days=1)
    OpenCircuit.objects.using(using()).filter(probe_at__lt=long_over).exclude(account__in=known).delete()


def _open_time(failures: int, seconds: float | None) -> timedelta:
    if seconds is None:
        seconds = FIRST_OPEN_TIME * 2.0 ** min(failures - 1, 10)
    # Never before SendGrid's time; spread after it, so that not all workers come in one moment.
    return timedelta(seconds=min(seconds, MAX_OPEN_TIME) + random.uniform(0, 1))  # noqa: S311


def _report(account: Account, result: SendResult, length: timedelta) -> None:
    if result.status_code == 429:
        logger.warning("SendGrid asks the mailer %r to wait for %d s", account.alias, length.total_seconds())
        return
    logger.error(
        "SendGrid refuses the mailer %r with %s; its mails wait. Is its API key right, with the "
        '"Mail Send" permission? `manage.py outbox status` has SendGrid\'s own words.',
        account.alias,
        result.status_code,
    )
