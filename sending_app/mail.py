"""A mail as plain values: `compose` makes it, the outbox keeps it, `api` builds the request from it.

Everything in here can be written as JSON and read back the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: As SendGrid takes it: {"email": ...}, and "name" where there is one. The domain is in ASCII.
Address: TypeAlias = dict[str, str]

#: Where the id goes in an address of `reply_to`, so that an answer to it names the mail.
MARKER = "{message_id}"

#: Octets before an address's @ (RFC 5321).
MAX_LOCAL_PART = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalization:
    """Who gets the mail, and what is theirs alone: one object of a request's `personalizations`."""

    #: Our id of it, a UUID. SendGrid brings it back in every event, as `signals.MESSAGE_ID_ARG`.
    id: str
    to: list[Address]
    cc: list[Address] = field(default_factory=list)
    bcc: list[Address] = field(default_factory=list)
    #: Any JSON for a dynamic template; text or None by name for any other.
    merge_data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    #: A personalization the caller wrote (`esp_extra["personalizations"]` as a list): it stands as it is,
    #: and `to`, `cc` and `bcc` repeat its addresses.
    given: dict[str, Any] | None = None

    @property
    def recipients(self) -> list[Address]:
        return [*self.to, *self.cc, *self.bcc]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that goes along, kept once for all mails of a message."""

    content: bytes
    #: SendGrid requires one.
    filename: str
    #: Without parameters: SendGrid refuses a charset here.
    type: str
    #: Set on what is shown inline, without angle brackets.
    content_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedContent:
    """The content that all recipients share."""

    #: The request's body but `personalizations` and our attachments, in SendGrid's own words.
    body: dict[str, Any]
    #: Merged below each recipient's own merge data.
    global_data: dict[str, Any] = field(default_factory=dict)
    #: A dynamic template takes merge data as it is; a legacy one, or none, as substitutions.
    dynamic: bool = False
    #: What makes a merge field's name a substitution: a `str.format` text such as "-{}-".
    field_format: str | None = None
    #: `esp_extra["personalizations"]` as a dict: merged into every personalization.
    extra: dict[str, Any] = field(default_factory=dict)
    #: Whether the ids go to SendGrid (`SENDGRID_GENERATE_MESSAGE_ID`).
    tracked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedMail:
    """One `send()`: the content all share, and a personalization for each recipient."""

    shared: SharedContent
    personalizations: list[Personalization]
    attachments: list[Attachment] = field(default_factory=list)
    #: Each of `to` gets a mail of their own; only such a mail is ever split.
    is_batch: bool = False
    #: Which lane: None leaves it to the number of recipients.
    bulk: bool | None = None


def fill_marker(addresses: Iterable[Address], message_id: str) -> list[Address]:
    """The addresses with the id where it goes: without hyphens, for the room is small."""
    short = message_id.replace("-", "")
    return [{**one, "email": one["email"].replace(MARKER, short)} for one in addresses]
