"""Public: a message with SendGrid's features, inline pictures, and the status of a sent message.

Plain Django messages take the same attributes.
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

__all__ = [
    "AnymailMessage",
    "AnymailMessageMixin",
    "AnymailRecipientStatus",
    "AnymailStatus",
    "RecipientStatus",
    "SendGridMessage",
    "SendGridMessageMixin",
    "SendStatus",
    "attach_inline_image",
    "attach_inline_image_file",
]

#: States of a recipient, from SendGrid's answer and from later events.
STATUSES = frozenset(
    {"sent", "queued", "invalid", "rejected", "failed", "unknown", "deferred", "delivered", "bounced", None}
)


@dataclass(frozen=True)
class RecipientStatus:
    """The status of the mail to an address."""

    #: The id in SendGrid's events, a UUID as text; None if ids do not go to SendGrid.
    message_id: Hashable
    #: "queued", "deferred", "delivered", "bounced", "rejected", "invalid", "failed", "unknown"; None before
    #: the first answer.
    status: str | None

    def __post_init__(self) -> None:
        hash(self.message_id)  # ids are gathered in a set
        if self.status not in STATUSES:
            raise ValueError(f"Invalid status {self.status!r}")


class SendStatus:
    """The status of a message: `message.anymail_status` after `send()`."""

    def __init__(self) -> None:
        #: The id, a UUID as text, or a set of several ids; None before `send()` or without ids.
        self.message_id: Any = None
        #: Distinct states of the recipients.
        self.status: set[str | None] | None = None
        #: The status of each recipient, by the address as the caller wrote the address, without the name.
        self.recipients: dict[str, RecipientStatus] = {}
        #: SendGrid's answer, a `requests.Response`, if `send()` waited for an answer.
        self.esp_response: Any = None

    def set_recipient_status(self, recipients: Mapping[str, RecipientStatus]) -> None:
        """Add or update recipients."""
        self.recipients.update(recipients)
        self.status = {recipient.status for recipient in self.recipients.values()} or None
        ids = {recipient.message_id for recipient in self.recipients.values()}
        self.message_id = ids if len(ids) > 1 else next(iter(ids), None)

    def __repr__(self) -> str:
        statuses = ", ".join(sorted(map(str, self.status or [None])))
        ids = f"{len(self.message_id)} ids" if isinstance(self.message_id, set) else repr(self.message_id)
        return (
            f"{type(self).__name__}<status={statuses}, message_id={ids}, {len(self.recipients)} recipients>"
        )


class SendGridMessageMixin:
    """Adds SendGrid's features to a message class, as keyword arguments.

    An attribute that is not passed stays unset, so the project's send defaults apply. None cancels a default.
    """

    #: Raises unless IGNORE_UNSUPPORTED_FEATURES is on: SendGrid has no envelope sender per message.
    envelope_sender: str | None
    #: Returned in each event. Text or numbers.
    metadata: Mapping[str, Any] | None
    #: Data of the template, by address. With this attribute or the next two, each `to` recipient gets a
    #: separate mail.
    merge_data: Mapping[str, Mapping[str, Any]] | None
    #: `metadata` of a recipient, by address.
    merge_metadata: Mapping[str, Mapping[str, Any]] | None
    #: Headers of a recipient's mail, by address.
    merge_headers: Mapping[str, Mapping[str, Any]] | None
    #: For all recipients; `merge_data` overrides this.
    merge_global_data: Mapping[str, Any] | None
    #: Up to 10 texts of 1 to 255 printable ASCII characters; SendGrid's categories.
    tags: Sequence[str] | None
    #: Whether SendGrid counts openings. Unset: the setting of the SendGrid account applies.
    track_opens: bool | None
    #: Whether SendGrid counts clicks. Unset: the setting of the SendGrid account applies.
    track_clicks: bool | None
    #: An alias of `track_opens`.
    open_tracking: bool | None
    #: An alias of `track_clicks`.
    click_tracking: bool | None
    #: A time without a zone is in Django's current zone; a number counts seconds since 1970.
    send_at: datetime | date | float | None
    #: The id of a template at SendGrid; of a dynamic template, it begins with "d-".
    template_id: str | None
    #: Merged into the request; overrides all attributes above.
    esp_extra: Mapping[str, Any] | None
    #: Whether the mail uses the bulk lane. Unset: the number of recipients decides.
    bulk: bool | None
    #: The name of a stream of mail, such as "news". Recipients can unsubscribe from the stream.
    unsubscribe_scope: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ours = {name: kwargs.pop(name) for name in ATTRIBUTES if name in kwargs}
        super().__init__(*args, **kwargs)
        for name, setting in ours.items():
            setattr(self, name, setting)
        self.anymail_status = SendStatus()

    def attach_inline_image(
        self,
        content: bytes,
        filename: str | None = None,
        subtype: str | None = None,
        idstring: str = "img",
        domain: str | None = None,
    ) -> str:
        """Attach a picture for `<img src="cid:...">`, and return the id for the `src`."""
        assert isinstance(self, EmailMessage)
        return attach_inline_image(self, content, filename, subtype, idstring, domain)

    def attach_inline_image_file(
        self,
        path: str | PathLike[str],
        subtype: str | None = None,
        idstring: str = "img",
        domain: str | None = None,
    ) -> str:
        """Attach a picture file under the name of the file; see `attach_inline_image`."""
        assert isinstance(self, EmailMessage)
        return attach_inline_image_file(self, path, subtype, idstring, domain)


class SendGridMessage(SendGridMessageMixin, EmailMultiAlternatives):
    """A Django message with SendGrid's features.

    The arguments are those of `EmailMultiAlternatives`, and the attributes of `SendGridMessageMixin`
    by keyword.
    """


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
    """Attach a picture for `<img src="cid:...">`, and return the id for the `src`.

    Raises TypeError without `subtype`, if neither content nor filename tell the subtype.
    """
    # Not the host name: the host name is private, and some mail programs show no picture whose id ends like
    # a program's name (.com).
    content_id = make_msgid(idstring, domain or "inline")
    if not subtype:
        try:
            subtype = MIMEImage(content).get_content_subtype()  # from the first bytes
        except TypeError:
            media_type = mimetypes.guess_type(filename or "")[0] or ""
            if not media_type.startswith("image/"):
                raise
            subtype = media_type.removeprefix("image/")
    picture: MIMEImage | MIMEPart
    if django.VERSION < (6, 0):  # takes only MIMEBase; Django 6 warns about MIMEBase
        picture = MIMEImage(content, subtype)
        picture.add_header("Content-Disposition", "inline", **({"filename": filename} if filename else {}))
        picture.add_header("Content-ID", content_id)
    else:
        picture = MIMEPart()
        picture.set_content(
            *(content, "image", subtype), disposition="inline", filename=filename, cid=content_id
        )
    message.attach(picture)
    return content_id[1:-1]


def attach_inline_image_file(
    message: EmailMessage,
    path: str | PathLike[str],
    subtype: str | None = None,
    idstring: str = "img",
    domain: str | None = None,
) -> str:
    """Attach a picture file under the name of the file; see `attach_inline_image`."""
    path = Path(path)
    return attach_inline_image(message, path.read_bytes(), path.name, subtype, idstring, domain)
