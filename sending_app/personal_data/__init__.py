"""Forget a person: the places of this app that hold data of persons."""

from functools import partial

from events_app.shared.personal_data import registry
from events_app.shared.personal_data.registry import Place
from sending_app.personal_data import errors, messages, newer, rows

#: In the order of erasure. The recipients of a message tell whether the message is the person's alone.
PLACES = {
    "messages": messages.messages,
    "errors of mails": errors.errors_of_mails,
    "recipients": rows.recipients,
    "suppressions": rows.suppressions,
    "paused accounts": errors.reasons_of_pauses,
}


def declare_places() -> None:
    """Register the places, and the look-up of mails that are newer than an erasure."""
    for name, place in PLACES.items():
        registry.declare(Place(name, partial(place, erases=False), partial(place, erases=True)))
    registry.newer_mails = newer.newer_mails
