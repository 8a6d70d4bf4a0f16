"""The delivery of an event or an inbound mail to its receivers, as a page shows the delivery."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import reverse

from events_app.admin.words import delivery_word
from events_app.dispatch.filters import State, pending_of, state_of
from events_app.dispatch.reasons import errors_of, last_words
from events_app.models import AbstractPendingDelivery
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer
from events_app.shared.escaping import one_line

_MEANINGS = {
    State.PENDING: "No receiver has failed so far. A worker calls the receivers.",
    State.RETRYING: "A worker calls the receivers below again when the delivery is due.",
    State.DEAD_LETTER: "Given up: no worker calls the receivers below again. Mend the cause, then retry.",
    State.DONE: "Nothing is left to do.",
}


class ReceiverError(NamedTuple):
    """The error of a receiver whose last call failed."""

    name: str
    #: The error in one line.
    error: str
    traceback: str
    #: The address of the list of all deliveries in which the receiver failed.
    deliveries: str


def delivery_context(row: Model, viewer: Viewer) -> dict[str, Any]:
    """The context of the template "delivery.html" for an event or an inbound mail."""
    pending = pending_of(row)
    state = state_of(pending)
    context: dict[str, Any] = {"word": delivery_word(state), "meaning": _MEANINGS[state]}
    if pending is None:
        return context
    errors = failed_receivers(pending, viewer)
    to_call = sorted(pending.receivers.keys() - {receiver.name for receiver in errors})
    return context | {
        "failed": errors,
        "to_call": [one_line(name) for name in to_call],
        "calls_all": not pending.receivers,
        "facts": [
            ("Reason", viewer.line(pending.error)),
            ("Failed tries", pending.failures or ""),
            ("Worker deaths", pending.worker_deaths or ""),
            ("Asked for by an operator", "yes, as a replay" if pending.replay else ""),
            ("Due", "" if state is State.DEAD_LETTER else utc_time(pending.due)),
        ],
    }


def failed_receivers(pending: AbstractPendingDelivery, viewer: Viewer) -> list[ReceiverError]:
    """The receivers whose last call failed."""
    listing = reverse(f"admin:{pending._meta.app_label}_{pending._meta.model_name}_changelist")
    return [
        ReceiverError(
            one_line(name),
            viewer.line(last_words(error)),
            viewer.text(error),
            f"{listing}?{urlencode({'receiver': name})}",
        )
        for name, error in errors_of(pending).items()
    ]
