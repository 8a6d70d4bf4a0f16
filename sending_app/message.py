"""What users import: a message with SendGrid's features, pictures inside its text, and what became of it.

Plain Django messages take the same attributes, set by hand.
"""

import mimetypes
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.message import MIMEPart
from email.mime.image import MIMEImage
from email.utils import make_msgid
from os import PathLike
from pathlib import Path
from typing import Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

#: A recipient's state, from what SendGrid said when the mail was handed over and from its events since.
STATUSES = frozenset(
    {"sent", "queued", "invalid", "rejected", "failed", "unknown", "deferred", "delivered", "bounced", None}
)


@dataclass(frozen=True)
class RecipientStatus:
    """What became of the mail to one address."""

    message_id: Hashable
    status: str | None

    def __post_init__(self) -> None:
        hash(self.message_id)  # ids are gathered in a set
        if self.status not in STATUSES:
            raise ValueError(f"Invalid status {self.status!r}")


class SendStatus:
    """What became of a message: `message.anymail_status` after `send()`."""

    def __init__(self) -> None:
        #: The id of all recipients, or a set where there are several.
        self.message_id: Any = None
        #: All different states of its recipients.
        self.status: set[str | None] | None = None
        #: By the address as it was given, without its name.
        self.recipients: dict[str, RecipientStatus] = {}
        #: SendGrid's answer, where `send()` waited for it.
        self.esp_response: Any = None

    def set_recipient_status(self, recipients: Mapping[str, RecipientStatus]) -> None:
        """Add recipients, or what is new about them."""
        self.recipients.update(recipients)
        self.status = {one.status for one in self.recipients.values()} or None
        ids = {one.message_id for one in self.recipients.values()}
        self.message_id = ids if len(ids) > 1 else next(iter(ids), None)

    def __repr__(self) -> str:
        statuses = ", ".join(sorted(map(str, self.status or [None])))
        ids = f"{len(self.message_id)} ids" if isinstance(self.message_id, set) else repr(self.message_id)
        return (
            f"{type(self).__name__}<status={statuses}, message_id={ids}, {len(self.recipients)} recipients>"
        )


class SendGridMessageMixin:
    """Makes SendGrid's features keyword arguments of any message class.

    What is not passed stays unset, so that the project's send defaults hold; None cancels them.
    """

    #: SendGrid takes none for one message: it raises, unless such features are ignored.
    envelope_sender: str | None
    #: Comes back in each event. Text or numbers.
    metadata: Mapping[str, Any] | None
    #: By address, for that recipient alone. As with the next two, each of `to` gets a mail of their own.
    merge_data: Mapping[str, Mapping[str, Any]] | None
    merge_metadata: Mapping[str, Mapping[str, Any]] | None
    merge_headers: Mapping[str, Mapping[str, Any]] | None
    #: For all recipients, below each one's own.
    merge_global_data: Mapping[str, Any] | None
    tags: Sequence[str] | None
    track_opens: bool | None
    track_clicks: bool | None
    #: Other names of the two before.
    open_tracking: bool | None
    click_tracking: bool | None
    #: A time without a zone is in Django's current one; a number counts seconds from 1970.
    send_at: datetime | date | float | None
    template_id: str | None
    #: Merged into the request, and stronger than all of the above.
    esp_extra: Mapping[str, Any] | None
    #: By which lane the mail leaves; unset, the number of its recipients decides.
    bulk: bool | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ours = {name: kwargs.pop(name) for name in ATTRIBUTES if name in kwargs}
        super().__init__(*args, **kwargs)
        for name, value in ours.items():
            setattr(self, name, value)
        self.anymail_status = SendStatus()

    def attach_inline_image(
        self,
        content: bytes,
        filename: str | None = None,
        subtype: str | None = None,
        idstring: str = "img",
        domain: str | None = None,
    ) -> str:
        """Add a picture to be shown by `<img src="cid:...">`, and return the id that goes in there."""
        assert isinstance(self, EmailMessage)
        return attach_inline_image(self, content, filename, subtype, idstring, domain)

    def attach_inline_image_file(
        self,
        path: str | PathLike[str],
        subtype: str | None = None,
        idstring: str = "img",
        domain: str | None = None,
    ) -> str:
        """The same with a file, under its own name."""
        assert isinstance(self, EmailMessage)
        return attach_inline_image_file(self, path, subtype, idstring, domain)


class SendGridMessage(SendGridMessageMixin, EmailMultiAlternatives):
    """A Django message with SendGrid's features as keyword arguments."""


ATTRIBUTES = tuple(SendGridMessageMixin.__annotations__)

AnymailRecipientStatus = RecipientStatus
AnymailStatus = SendStatus
AnymailMessageMixin = SendGridMessageMixin
AnymailMessage = SendGridMessage


def attach_inline_image(  # noqa: PLR0913, PLR0917 (as in Anymail)
    message: EmailMessage,
    content: bytes,
    filename: str | None = None,
    subtype: str | None = None,
    idstring: str = "img",
    domain: str | None = None,
) -> str:
    """Add a picture to be shown by `<img src="cid:...">`, and return the id that goes in there."""
    # Not this machine's name: some mail programs show no picture whose id ends like a program's name
    # (.com); and what it is called is nobody's business.
    content_id = make_msgid(idstring, domain or "inline")
    subtype = subtype or _subtype(content, filename)
    attach_here = _attach_mime_base if django.VERSION < (6, 0) else _attach_part
    attach_here(message, content, filename, subtype, content_id)
    return content_id[1:-1]


def attach_inline_image_file(
    message: EmailMessage,
    path: str | PathLike[str],
    subtype: str | None = None,
    idstring: str = "img",
    domain: str | None = None,
) -> str:
    """The same with a file, under its own name."""
    path = Path(path)
    return attach_inline_image(message, path.read_bytes(), path.name, subtype, idstring, domain)


def _subtype(content: bytes, filename: str | None) -> str:
    """By its first bytes, else by its name. Raises TypeError where neither tells."""
    try:
        return MIMEImage(content).get_content_subtype()
    except TypeError:
        guessed = mimetypes.guess_type(filename or "")[0] or ""
        if not guessed.startswith("image/"):
            raise
        return guessed.removeprefix("image/")


def _attach_part(
    message: EmailMessage, content: bytes, filename: str | None, subtype: str, content_id: str
) -> None:
    part = MIMEPart()
    part.set_content(
        content, maintype="image", subtype=subtype, disposition="inline", filename=filename, cid=content_id
    )
    message.attach(part)


def _attach_mime_base(
    message: EmailMessage, content: bytes, filename: str | None, subtype: str, content_id: str
) -> None:
    # Django 5.2 takes these alone, and 6 warns of them.
    part = MIMEImage(content, subtype)
    part.add_header("Content-Disposition", "inline", **({"filename": filename} if filename else {}))
    part.add_header("Content-ID", content_id)
    message.attach(part)
