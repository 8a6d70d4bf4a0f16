"""What a posted form says: the mail, the plain fields, and the key that all posts of one mail share."""

from dataclasses import dataclass

from events_app.inbound.form import Form
from events_app.inbound.message import InboundMessage


@dataclass(frozen=True, slots=True)
class Reading:
    """One post of Inbound Parse, read."""

    message: InboundMessage
    #: The plain fields as text, without the mail itself: fit for a JSON column.
    fields: dict[str, str]
    #: The 16 bytes that all posts of one mail share.
    key: bytes


def read(form: Form) -> Reading:
    """The mail in the form of either mode; raises `events_app.decode.Unreadable`."""
    raise NotImplementedError
