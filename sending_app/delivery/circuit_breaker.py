"""The circuit breaker of each account: open during a rate limit, and while SendGrid refuses the API key.

The database keeps the row of an open circuit, so every worker obeys the circuit. After the open time the
circuit is half-open and a single worker probes. A successful probe closes the circuit; a failed probe opens
the circuit for longer. Meanwhile the account's mails wait: SendGrid blocks an account after many posts with
a bad key (Twilio docs, "API Responses").
"""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from events_app.shared.backoff import exponential
from events_app.shared.changes import BY_HAND, Operator
from events_app.shared.database import clean, database_now
from sending_app.account import Account, usable
from sending_app.api.client import SendResult
from sending_app.models import OpenCircuit
from sending_app.outbox import using

logger = logging.getLogger(__name__)

#: Seconds a circuit stays open at first, if SendGrid names no time. Each failed probe doubles the time.
FIRST_OPEN_TIME = 15

#: Longest time in seconds a circuit stays open. It overrides SendGrid's time.
MAX_OPEN_TIME = 600


def open_circuits() -> dict[str, bool]:
    """Map the fingerprint of each account with an open circuit to whether a worker may probe now."""
    circuits = list(OpenCircuit.objects.all())
    if not circuits:  # the usual case, and a frequent call: reading the clock would be a second query
        return {}
    now = database_now(using())
    return {circuit.account: circuit.probe_at <= now for circuit in circuits}


def start_probe(account: Account) -> bool:
    """Whether the caller makes the probe. Other workers wait until the probe must have had its answer."""
    now = database_now(using())
    half_open = OpenCircuit.objects.filter(account=account.fingerprint, probe_at__lte=now)
    return bool(half_open.update(probe_at=now + _probe_time(account)))


def end_probe(account: Account) -> None:
    """Let another mail probe: the caller's mail was not posted."""
    now = database_now(using())
    # Later: another post has opened the circuit for longer.
    by_probe = OpenCircuit.objects.filter(
        account=account.fingerprint, probe_at__lte=now + _probe_time(account)
    )
    by_probe.update(probe_at=now)


def _probe_time(account: Account) -> timedelta:
    return timedelta(seconds=sum(account.timeout) + 10)


def probe_now(accounts: Sequence[str], operator: Operator = BY_HAND) -> Counter[str]:
    """Let a worker probe these accounts now, on an operator's request. Return the number `probed`.

    Accounts are fingerprints. While a worker waits for the answer to a probe, a second worker may probe.
    """
    with transaction.atomic(using=using()):
        # Locked in order, like every multi-row write.
        locked = waiting_circuits(accounts).order_by("pk").select_for_update()
        pks = list(locked.values_list("pk", flat=True))
        OpenCircuit.objects.filter(pk__in=pks).update(probe_at=database_now(using()))
        operator.record(pks)
    return Counter(probed=len(pks))


def waiting_circuits(accounts: Sequence[str]) -> "QuerySet[OpenCircuit]":
    """The circuits of these accounts that no worker may probe yet."""
    return OpenCircuit.objects.filter(pk__in=sorted(accounts), probe_at__gt=database_now(using()))


def trip(account: Account, result: SendResult, is_probe: bool) -> timedelta:
    """Open the account's circuit after this result, and return how long the circuit stays open.

    `is_probe` tells that the caller probed a half-open circuit.
    """
    circuits = OpenCircuit.objects.all()
    with transaction.atomic(using=using()):
        now = database_now(using())
        # Two workers may open the circuit at once. The upsert creates the row and locks it until the commit.
        new_circuit = OpenCircuit(
            account=account.fingerprint, alias=account.alias, opened_at=now, probe_at=now, failures=0
        )
        circuits.bulk_create(
            [new_circuit], update_conflicts=True, unique_fields=["account"], update_fields=["alias"]
        )
        circuit = circuits.get(account=account.fingerprint)
        failures = circuit.failures + 1 if is_probe or not circuit.failures else circuit.failures
        seconds = result.wait
        if seconds is None:
            seconds = exponential(FIRST_OPEN_TIME, failures, MAX_OPEN_TIME)
        # Jitter after SendGrid's time, so that not all workers post in the same moment.
        jitter = random.uniform(0, 1)  # noqa: S311
        probe_at = now + timedelta(seconds=min(seconds, MAX_OPEN_TIME) + jitter)
        if not is_probe:  # this post began before the circuit opened
            probe_at = max(probe_at, circuit.probe_at)
        circuits.filter(account=account.fingerprint).update(
            probe_at=probe_at,
            failures=failures,
            status_code=result.status_code,
            reason=clean(result.detail),
        )
    _report(account, result, probe_at - now)
    return probe_at - now


def close_circuit(account: Account) -> None:
    """Close the account's circuit after a successful post."""
    if OpenCircuit.objects.filter(account=account.fingerprint).delete()[0]:
        logger.info("SendGrid accepts mails of the mailer %r again", account.alias)


def remove_unused() -> None:
    """Remove the circuits of keys that are no longer in the settings: no post can close those circuits."""
    in_use = [account.fingerprint for account in usable()]
    # A day, as this worker may run with older settings than other workers. A circuit with waiting mails is
    # probed long before.
    day_ago = database_now(using()) - timedelta(days=1)
    OpenCircuit.objects.filter(probe_at__lt=day_ago).exclude(account__in=in_use).delete()


def _report(account: Account, result: SendResult, length: timedelta) -> None:
    if result.status_code == 429:
        logger.warning(
            "SendGrid limits the rate of the mailer %r; its mails wait for %d s",
            account.alias,
            length.total_seconds(),
        )
        return
    logger.error(
        "SendGrid refuses the mailer %r with %s; its mails wait. Is its API key right, with the "
        '"Mail Send" permission? `manage.py outbox status` shows SendGrid\'s error text.',
        account.alias,
        result.status_code,
    )
