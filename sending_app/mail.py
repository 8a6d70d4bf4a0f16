"""A mail as plain values: made by `compose`, stored by the outbox, turned into requests by `api`.

JSON keeps every value here unchanged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: SendGrid's format: {"email": ...}, with an optional "name". The domain is in ASCII.
Address: TypeAlias = dict[str, str]

#: Replaced by the id in an address of `reply_to`, so that a reply names the mail.
MARKER = "{message_id}"

#: Octets before an address's @ (RFC 5321).
MAX_LOCAL_PART = 64

#: Characters of the name of a stream of mail.
MOST_SCOPE = 100

# Message ids in the attributes of a span.
_MOST_IDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalization:
    """Recipients and their merge data: an object of a request's `personalizations`."""

    #: Our UUID. SendGrid returns the id in every event, as `signals.MESSAGE_ID_ARG`.
    id: str
    to: list[Address]
    cc: list[Address] = field(default_factory=list)
    bcc: list[Address] = field(default_factory=list)
    #: Any JSON for a dynamic template; text or None by name for any other.
    merge_data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    #: The caller's own personalization (`esp_extra["personalizations"]` as a list), sent unchanged.
    #: `to`, `cc` and `bcc` repeat its addresses.
    given: dict[str, Any] | None = None

    @property
    def recipients(self) -> list[Address]:
        return [*self.to, *self.cc, *self.bcc]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    """An attached file, stored once for all mails of a message."""

    content: bytes
    #: Required by SendGrid.
    filename: str
    #: Without parameters, which SendGrid refuses; but the method of a calendar.
    type: str
    #: Set for an inline file, without angle brackets.
    content_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedContent:
    """The content that all recipients share."""

    #: The request's body without `personalizations` and our attachments, in SendGrid's format.
    body: dict[str, Any]
    #: Merged below each recipient's own merge data.
    global_data: dict[str, Any] = field(default_factory=dict)
    #: A dynamic template takes merge data unchanged; any other mail takes substitutions.
    dynamic: bool = False
    #: Turns a merge field's name into a substitution: a `str.format` text such as "-{}-".
    field_format: str | None = None
    #: `esp_extra["personalizations"]` as a dict: merged into every personalization.
    extra: dict[str, Any] = field(default_factory=dict)
    #: Whether the ids go to SendGrid (`SENDGRID_GENERATE_MESSAGE_ID`).
    tracked: bool = True
    #: The stream of mail that recipients can unsubscribe from: `message.unsubscribe_scope`.
    unsubscribe_scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedMail:
    """One `send()`: the shared content and the personalizations."""

    shared: SharedContent
    personalizations: list[Personalization]
    attachments: list[AttachedFile] = field(default_factory=list)
    #: Each `to` recipient gets a separate mail. Only a batch is ever split.
    is_batch: bool = False
    #: The lane. None: the number of recipients decides.
    bulk: bool | None = None


def span_attributes(personalizations: Sequence[Personalization]) -> dict[str, str | int | list[str]]:
    """The attributes of a span about these personalizations: ids, and no address."""
    if len(personalizations) == 1:
        return {"messaging.system": "sendgrid", "messaging.message.id": personalizations[0].id}
    return {
        "messaging.system": "sendgrid",
        "messaging.batch.message_count": len(personalizations),
        "sendgrid.message_ids": [personalization.id for personalization in personalizations[:_MOST_IDS]],
    }


def fill_marker(addresses: Iterable[Address], message_id: str) -> list[Address]:
    """Replace `MARKER` in the addresses by the id, without hyphens to save characters."""
    short = message_id.replace("-", "")
    return [{**address, "email": address["email"].replace(MARKER, short)} for address in addresses]


def merge_deep(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `second` over `first`, dict in dict. Lists and scalars of `second` replace those of `first`."""
    merged = {**first, **second}
    for name in first.keys() & second.keys():
        if isinstance(first[name], Mapping) and isinstance(second[name], Mapping):
            merged[name] = merge_deep(first[name], second[name])
    return merged
