"""Retries in a test."""

from events_app.dispatch.eager import deliver_waiting
from events_app.dispatch.kinds import EVENTS
from events_app.inbound.store import INBOUND_MAILS


def drain() -> int:
    """Make each waiting delivery once, of events and then of inbound mails; return their number.

    Calls the receivers that have not succeeded, before the time of their retry. An exception of a receiver
    comes out, except inside `record_failures()`.
    """
    return deliver_waiting(EVENTS) + deliver_waiting(INBOUND_MAILS)
