"""What a recipient of an accepted mail answers."""

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

#: What is answered where nobody says what.
_DEFAULT_TEXT = "Thank you, that is all I wanted to know."

_TAG = re.compile(r"<[^>]*>")


class RecipientReplies:
    """The answers of those who answer, one to each mail."""

    def __init__(self, ledger: RequestLog) -> None:
        self._log = ledger
        self._answered: set[str] = set()

    def to(self, events: Iterable[Event]) -> Iterator[EmailMessage]:
        """What follows on `events`: a mail that was opened is answered, once."""
        for event in events:
            message = event["sg_message_id"]
            if (
                event["event"] == "open"
                and scenarios.sends_reply(event["email"])
                and message not in self._answered
            ):
                self._answered.add(message)
                for accepted in self._log.accepted:
                    if message.startswith(f"{accepted.x_message_id}."):
                        yield reply_to(accepted, _DEFAULT_TEXT, recipient=event["email"])


def reply_to(accepted: AcceptedMail, text: str, *, recipient: str | None = None) -> EmailMessage:
    """What a recipient of an accepted mail answers, the first unless said: `text`, and the mail quoted below.

    Raises ValueError for a recipient it has not got.
    """
    body = accepted.body
    one, email = _find_recipient(body, recipient)
    subject = _line(one.get("subject", body.get("subject", "")))
    reply = EmailMessage()
    reply["From"] = email
    reply["To"] = [_address(who) for who in _reply_addresses(body, one)]
    reply["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}".strip()
    reply["Date"] = datetime.now(UTC)
    reply["Message-ID"] = make_msgid(domain=email.rpartition("@")[2])
    reply["In-Reply-To"] = reply["References"] = message_id(
        accepted.x_message_id, scenarios.headers(body, one)
    )
    reply.set_content(f"{text}\n\n{_quoted(accepted, one)}")
    return reply


def _find_recipient(body: Mapping[str, Any], recipient: str | None) -> tuple[Mapping[str, Any], str]:
    """The recipient as the mail has it, with the personalization."""
    for one, email in scenarios.recipients(body):
        if recipient is None or email.lower() == recipient.lower():
            return one, email
    raise ValueError("only a recipient of the mail can answer it")


def _reply_addresses(body: Mapping[str, Any], one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
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


def _quoted(accepted: AcceptedMail, one: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(accepted.at, UTC)
    texts = {part["type"]: part["value"] for part in accepted.body.get("content", [])}
    text = texts.get("text/plain") or html.unescape(_TAG.sub("", texts.get("text/html", "")))
    quote = "".join(f"> {line}\n" for line in text.splitlines())
    return f"On {at:%a, %d %b %Y at %H:%M}, {_address(_sender(accepted.body, one))} wrote:\n{quote}"
