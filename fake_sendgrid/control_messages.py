"""The JSON messages of the control API, as its client and its server see them.

A field that is missing has its default. An unknown field is an error.
"""

from typing import Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]

#: Seconds of a duration.
LONGEST = 86400

Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=LONGEST)]


class Options(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Options to change; those that are unset stay."""

    webhook_url: str | UnsetType | None = UNSET
    inbound_url: str | UnsetType | None = UNSET
    #: Addresses: a request with one of them gets a 400.
    refused: list[str] | UnsetType = UNSET
    #: Shares of the events, from 0 to 1.
    duplicates: Share | UnsetType = UNSET
    disorder: Share | UnsetType = UNSET
    delay: Seconds | UnsetType = UNSET
    #: Whether events wait.
    hold_events: bool | UnsetType = UNSET


class State(Struct, kw_only=True):
    #: The URL of the API.
    url: str
    #: The key that verifies posts.
    public_key: str
    webhook_url: str | None
    inbound_url: str | None
    refused: list[str]
    duplicates: float
    disorder: float
    delay: float
    #: How many events of each kind the webhook has accepted, duplicates included.
    posted: dict[str, int]


class PostedEvent(Struct, kw_only=True):
    #: The event as posted.
    event: dict[str, Any]
    #: Unix seconds of the last post.
    at: float
    #: The answers of the webhook, oldest first; None means no answer.
    statuses: list[int | None]


class Mail(Struct, kw_only=True):
    """A mail that was accepted."""

    #: The X-Message-Id.
    id: str
    #: Unix seconds.
    at: float
    #: The API key of the request.
    key: str | None
    sandbox: bool
    #: The body of the request.
    body: dict[str, Any]
    #: The addresses of to, cc and bcc.
    recipients: list[str]
    #: The events that have been posted.
    events: list[PostedEvent]

    @property
    def subject(self) -> str:
        """The subject of the first recipient."""
        first: dict[str, Any] = self.body["personalizations"][0]
        return str(first.get("subject", self.body.get("subject", "")))

    @property
    def text(self) -> str | None:
        return self._content("text/plain")

    @property
    def html(self) -> str | None:
        return self._content("text/html")

    @property
    def template_id(self) -> str | None:
        return self.body.get("template_id")

    def _content(self, media_type: str) -> str | None:
        contents = self.body.get("content", [])
        return next((part["value"] for part in contents if part["type"] == media_type), None)


class Request(Struct, kw_only=True):
    """A request to mail/send and its response."""

    #: Unix seconds of its arrival.
    at: float
    key: str | None
    #: None if the connection was closed without a response.
    status: int | None
    #: Whether its mail was accepted, whatever the response was.
    accepted: bool
    #: The body of the request; None if it is not a valid mail or the key is wrong.
    mail: dict[str, Any] | None
    #: The messages of an error response.
    errors: list[str]


class InboundMail(Struct, kw_only=True):
    """An inbound mail that was posted, or waits for a webhook."""

    #: Unix seconds.
    at: float
    sender: str
    to: str
    subject: str
    #: The Message-ID of the mail that it replies to.
    in_reply_to: str | None
    #: The answers of the webhook, oldest first; None means no answer.
    statuses: list[int | None]


class Plan(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The response to the next valid mails. A mail to a refused address is refused anyway."""

    #: An HTTP status; None closes the connection.
    status: int | None = 202
    #: Seconds until the reset of a rate limit.
    retry_after: Seconds | None = None
    #: Whether the mail is accepted and gets events, whatever the status. Default: for a 2xx.
    accepts: bool | None = None
    #: Seconds before the response.
    pause: Seconds = 0.0
    #: The number of mails.
    times: Annotated[int, Meta(ge=1, le=10_000)] = 1
    #: For the mails of this recipient alone.
    recipient: str | None = None


class Hold(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Let the next valid mail wait for its response."""

    #: Whether the mail is accepted before the wait.
    after_accepting: bool = False


class Held(Struct, kw_only=True):
    id: int


class Fire(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An event to post for a recipient of a mail."""

    #: Such as "open" or "bounce".
    event: str
    #: An X-Message-Id.
    mail: str
    recipient: str
    #: Fields that replace those of the event.
    fields: dict[str, Any] = field(default_factory=dict)


class Reply(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A reply to post."""

    #: An X-Message-Id.
    mail: str
    recipient: str
    text: str = ""


class Suppress(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An address to put on one of SendGrid's suppression lists."""

    #: "bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes", or "group:" and a number.
    list: str
    email: str
    #: Unix seconds; None means now.
    created: int | None = None
    #: Further fields of the entry, such as `reason`.
    fields: dict[str, str] = field(default_factory=dict)


class Suppressed(Struct, kw_only=True):
    """An address (`email`) on one of SendGrid's lists (`list`), since `created` in Unix seconds."""

    list: str
    email: str
    created: int


class Wait(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How long to wait."""

    seconds: Seconds = 10.0


class Error(Struct, kw_only=True):
    #: What to do.
    error: str
