"""Writes retries and dead letters of events, with the tracebacks of receivers."""

import json
import random
from collections.abc import Iterable, Sequence

from devstack.seed.table import Table, timestamp
from events_app.models import PendingDelivery

DEAD, PENDING = PendingDelivery.State.DEAD_LETTER.value, PendingDelivery.State.PENDING.value

_CRM_AWAY = """\
Traceback (most recent call last):
  File "/srv/shop/crm/receivers.py", line 41, in update_contact
    response = session.post(CRM_URL, json=contact, timeout=10)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/venv/lib/python3.13/site-packages/requests/sessions.py", line 637, in post
    return self.request("POST", url, data=data, json=json, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
requests.exceptions.ConnectionError: HTTPConnectionPool(host='crm.internal', port=80): Max retries exceeded
"""

_NO_ORDER = """\
Traceback (most recent call last):
  File "/srv/shop/billing/receivers.py", line 18, in mark_invoice
    order = Order.objects.get(number=event.metadata["order"])
                                     ~~~~~~~~~~~~~~^^^^^^^^^
KeyError: 'order'
"""

_TOO_LONG = """\
Traceback (most recent call last):
  File "/srv/shop/stats/receivers.py", line 27, in count_opens
    Opening.objects.create(agent=event.user_agent, at=event.timestamp)
    ~~~~~~~~~~~~~~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
django.db.utils.DataError: value too long for type character varying(80)
"""

_KILLED = "A worker died, or exceeded the time limit, during this delivery: 3 times."

#: Failures of receivers that a project may have had. A deployment may know none of them.
_FAILURES = {
    "shop.crm.receivers.update_contact": _CRM_AWAY,
    "shop.billing.receivers.mark_invoice": _NO_ORDER,
    "shop.stats.receivers.count_opens": _TOO_LONG,
}

#: Days after which an operator has dealt with a dead letter.
DAYS_OF_TROUBLE = 3


class DeliveryWriter:
    """Adds a dead letter, or a retry, to one of so many events."""

    def __init__(self, rng: random.Random, using: str, now: float, connected: Sequence[str]) -> None:
        """`connected` names receivers of this project. A retry of these works."""
        self.rng, self.now = rng, now
        self.failures = [*_FAILURES.items(), *((name, _CRM_AWAY) for name in connected)]
        self.table = Table(
            PendingDelivery,
            using,
            ("event_id", "state", "due", "failures", "worker_deaths", "receivers", "error"),
        )

    def add(self, event_ids: Iterable[int], every: int) -> None:
        """Give one of `every` events a dead letter, and one a retry. No event gets both."""
        for pk in event_ids:
            fate = self.rng.randrange(every)
            if fate == 0:
                self._add_dead_letter(pk)
            elif fate == 1:
                self._add_retry(pk)

    def _add_dead_letter(self, pk: int) -> None:
        if self.rng.random() < 0.1:
            self.table.add(pk, DEAD, timestamp(self.now), 0, 3, "{}", _KILLED)
            return
        name, traceback = self.rng.choice(self.failures)
        error = "Given up: a receiver failed 15 times."
        self.table.add(pk, DEAD, timestamp(self.now), 15, 0, json.dumps({name: traceback}), error)

    def _add_retry(self, pk: int) -> None:
        name, traceback = self.rng.choice(self.failures)
        failures = self.rng.randrange(1, 9)
        due = self.now + 3600 + 3 * 3600 * self.rng.random()
        self.table.add(pk, PENDING, timestamp(due), failures, 0, json.dumps({name: traceback}), "")
