"""What a recipient of an accepted mail answers."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any

from fake_sendgrid import fates
from fake_sendgrid.events import Event, message_id
from fake_sendgrid.ledger import Accepted, Ledger

#: What is answered where nobody says what.
_THANKS = "Thank you, that is all I wanted to know."

_TAG = re.compile(r"<[^>]*>")


class Replies:
    """The answers of those who answer, one to each mail."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._answered: set[str] = set()

    def to(self, events: Iterable[Event]) -> Iterator[EmailMessage]:
        """What follows on `events`: a mail that was opened is answered, once."""
        for event in events:
            message = event["sg_message_id"]
            if event["event"] == "open" and fates.answers(event["email"]) and message not in self._answered:
                self._answered.add(message)
                for accepted in self._ledger.accepted:
                    if message.startswith(f"{accepted.x_message_id}."):
                        yield reply_to(accepted, _THANKS, recipient=event["email"])


def reply_to(accepted: Accepted, text: str, *, recipient: str | None = None) -> EmailMessage:
    """What a recipient of an accepted mail answers, the first unless said: `text`, and the mail quoted below.

    Raises ValueError for a recipient it has not got.
    """
    body = accepted.body
    one, email = _found(body, recipient)
    subject = _line(one.get("subject", body.get("subject", "")))
    reply = EmailMessage()
    reply["From"] = email
    reply["To"] = [_address(who) for who in _answered(body, one)]
    reply["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}".strip()
    reply["Date"] = datetime.now(UTC)
    reply["Message-ID"] = make_msgid(domain=email.rpartition("@")[2])
    reply["In-Reply-To"] = reply["References"] = message_id(accepted.x_message_id, fates.headers(body, one))
    reply.set_content(f"{text}\n\n{_quoted(accepted, one)}")
    return reply


def _found(body: Mapping[str, Any], recipient: str | None) -> tuple[Mapping[str, Any], str]:
    """The recipient as the mail has it, with the personalization."""
    for one, email in fates.recipients(body):
        if recipient is None or email.lower() == recipient.lower():
            return one, email
    raise ValueError("only a recipient of the mail can answer it")


def _answered(body: Mapping[str, Any], one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Who gets an answer."""
    if "reply_to_list" in body:
        return list(body["reply_to_list"])
    return [body.get("reply_to") or _sender(body, one)]


def _sender(body: Mapping[str, Any], one: Mapping[str, Any]) -> Any:
    return one.get("from", body["from"])


def _address(who: Mapping[str, Any]) -> Address:
    user, _, domain = who["email"].rpartition("@")
    return Address(_line(who.get("name", "")), user, domain)


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(accepted: Accepted, one: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(accepted.at, UTC)
    texts = {part["type"]: part["value"] for part in accepted.body.get("content", [])}
    text = texts.get("text/plain") or html.unescape(_TAG.sub("", texts.get("text/html", "")))
    quote = "".join(f"> {line}\n" for line in text.splitlines())
    return f"On {at:%a, %d %b %Y at %H:%M}, {_address(_sender(accepted.body, one))} wrote:\n{quote}"
