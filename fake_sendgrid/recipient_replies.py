"""Replies of recipients to accepted mails."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any

from fake_sendgrid import scenarios
from fake_sendgrid.events import Event, message_id
from fake_sendgrid.request_log import AcceptedMail, RequestLog
from fake_sendgrid.rules.addresses import folded

#: The text of a reply by default.
_DEFAULT_TEXT = "Thank you, that is all I wanted to know."

_TAG = re.compile(r"<[^>]*>")


class RecipientReplies:
    """The replies of recipients: one reply to an opened mail at a reply address."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self._replied: set[str] = set()

    def to(self, events: Iterable[Event]) -> Iterator[EmailMessage]:
        """Yield the replies that the `open` events among `events` cause."""
        for event in events:
            message = event["sg_message_id"]
            if (
                event["event"] == "open"
                and scenarios.sends_reply(event["email"])
                and message not in self._replied
            ):
                self._replied.add(message)
                for accepted in self._log.accepted:
                    if message.startswith(f"{accepted.x_message_id}."):
                        yield reply_to(accepted, _DEFAULT_TEXT, recipient=event["email"])


def reply_to(accepted: AcceptedMail, text: str, *, recipient: str | None = None) -> EmailMessage:
    """Return a recipient's reply (default: the first recipient's): `text`, and the mail quoted below.

    Raises ValueError if `recipient` is no recipient of the mail.
    """
    body = accepted.body
    personalization, email = _find_recipient(body, recipient)
    subject = _line(personalization.get("subject", body.get("subject", "")))
    reply = EmailMessage()
    reply["From"] = email
    reply["To"] = [_address(who) for who in _reply_addresses(body, personalization)]
    reply["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}".strip()
    reply["Date"] = datetime.now(UTC)
    reply["Message-ID"] = make_msgid(domain=email.rpartition("@")[2])
    reply["In-Reply-To"] = reply["References"] = _line(
        message_id(accepted.x_message_id, scenarios.headers(body, personalization))
    )
    reply.set_content(_encodable(f"{text}\n\n{_quoted(accepted, personalization)}"))
    return reply


def _find_recipient(body: Mapping[str, Any], recipient: str | None) -> tuple[Mapping[str, Any], str]:
    """Return the personalization and the address of a recipient."""
    for personalization, email in scenarios.recipients(body):
        if recipient is None or folded(email) == folded(recipient):
            return personalization, email
    raise ValueError("only a recipient of the mail can reply to it")


def _reply_addresses(body: Mapping[str, Any], personalization: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "reply_to_list" in body:
        return list(body["reply_to_list"])
    return [body.get("reply_to") or _sender(body, personalization)]


def _sender(body: Mapping[str, Any], personalization: Mapping[str, Any]) -> Any:
    return personalization.get("from", body["from"])


def _address(who: Mapping[str, Any]) -> Address:
    user, _, domain = who["email"].rpartition("@")
    return Address(_line(who.get("name", "")), user.strip('"'), domain)  # adds quotes where needed


def _line(text: str) -> str:
    return " ".join(_encodable(text).split())


def _encodable(text: str) -> str:
    # JSON may hold halves of surrogate pairs.
    return text.encode(errors="replace").decode()


def _quoted(accepted: AcceptedMail, personalization: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(accepted.at, UTC)
    texts = {part["type"]: part["value"] for part in accepted.body.get("content", [])}
    text = texts.get("text/plain") or html.unescape(_TAG.sub("", texts.get("text/html", "")))
    quote = "".join(f"> {line}\n" for line in text.splitlines())
    sender = _address(_sender(accepted.body, personalization))
    return f"On {at:%a, %d %b %Y at %H:%M}, {sender} wrote:\n{quote}"
