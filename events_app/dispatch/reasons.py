"""The errors of failed receivers, by which an operator sees why a delivery is pending or a dead letter."""

from events_app.models import AbstractPendingDelivery


def errors_of(pending: AbstractPendingDelivery) -> dict[str, str]:
    """The traceback of each receiver whose last call failed, by name. Further receivers may be pending."""
    return {name: error for name, error in sorted(pending.receivers.items()) if error}


def last_words(error: str) -> str:
    """The error in a traceback, without its further lines."""
    _, _, last = error.rpartition("Traceback (most recent call last):\n")
    outside = [line for line in last.splitlines() if line and not line[0].isspace()]
    return outside[0] if outside else error.strip().rpartition("\n")[2]
