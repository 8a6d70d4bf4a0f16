"""Keep events of ours (`shared.own_events`), and wake a worker for their receivers."""

import time
from contextlib import suppress
from functools import partial

import msgspec
from django.db import transaction
from django.db.transaction import TransactionManagementError

from events_app import tasks
from events_app.dispatch import eager, store
from events_app.dispatch.leases import events_database
from events_app.shared.eager import is_eager
from events_app.shared.own_events import WEBHOOK, RawEvents
from events_app.shared.wakeup import wake_once
from events_app.stream import Entry


def keep(events: RawEvents) -> None:
    """Implements `shared.own_events.keep`."""
    if not events:
        return
    raw = [msgspec.json.encode(event) for event in events]
    if is_eager():
        eager.deliver_events(WEBHOOK, raw)
        return
    store.store_for_any_worker(Entry(b"%d-0" % int(time.time() * 1000), WEBHOOK, raw))
    # Manual commits have no on_commit; the next tick finds the events.
    with suppress(TransactionManagementError):
        transaction.on_commit(partial(wake_once, tasks.drain), using=events_database(), robust=True)
