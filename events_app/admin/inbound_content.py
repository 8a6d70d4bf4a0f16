"""The content of an inbound mail: texts, headers, and files."""

from collections.abc import Sequence
from email.headerregistry import Address
from typing import Any, NamedTuple

from events_app.admin.inbound_page import FIRST
from events_app.inbound.message import InboundMessage
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer
from events_app.shared.escaping import one_line, printable

#: Characters of a text on a page.
MOST_TEXT = 100_000

#: Headers on a page.
MOST_HEADERS = 200

#: Characters of a header on a page.
MOST_HEADER = 2000


class ShownFile(NamedTuple):
    """A file of the mail."""

    number: int
    name: str
    content_type: str
    size: int
    is_inline: bool


def content_context(message: InboundMessage, viewer: Viewer) -> dict[str, Any]:
    """The context of the template "inbound_content.html".

    Without the permission, addresses of the headers and of the envelope are masked. The text is unchanged.
    """

    def addresses(listed: Sequence[Address]) -> str:
        shown = [
            one_line(str(each)) if viewer.addresses else viewer.address(each.addr_spec) for each in listed
        ]
        return _first_of(shown)

    text, new_words = message.text or "", message.stripped_text or ""
    all_files = attached_files(message)
    sender = message.envelope_sender
    return {
        "facts": [
            ("From", addresses([message.from_email] if message.from_email else [])),
            ("To", addresses(message.to)),
            ("Cc", addresses(message.cc)),
            ("Subject", viewer.line(message.subject or "")),
            ("Date", utc_time(message.date) if message.date else ""),
            (
                "Envelope from",
                "empty, as in delivery reports" if sender == "" else viewer.address(sender or ""),
            ),
            ("Envelope to", _first_of([viewer.address(each) for each in message.envelope_recipients])),
            ("In-Reply-To", one_line(" ".join(message.in_reply_to[:FIRST]))),
        ],
        "verdicts": [
            ("Sent by a server of the domain in From", _yes_or_no(message.from_is_aligned)),
            ("SPF", one_line(message.spf or "")),
            ("DKIM", one_line(", ".join(f"{domain}: {result}" for domain, result in message.dkim.items()))),
            ("IP address of the sending server", one_line(message.sender_ip or "")),
            ("Spam", _yes_or_no(message.spam_detected)),
            ("Spam score", "" if message.spam_score is None else str(message.spam_score)),
        ],
        "headers": viewer.quoting(_headers(message)),
        "new_words": _cut(new_words),
        "text": "" if text.strip() == new_words.strip() else _cut(text),
        "has_html": message.html is not None,
        "files": [
            ShownFile(
                number,
                one_line(part.get_filename("") or "without a name"),
                one_line(part.get_content_type()),
                len(part.get_content_bytes()),
                number >= len(message.attachments),
            )
            for number, part in enumerate(all_files[:FIRST])
        ],
        "more_files": max(0, len(all_files) - FIRST),
    }


def attached_files(message: InboundMessage) -> list[InboundMessage]:
    """The files of the mail, in the order of their numbers: attachments, then files that the HTML shows."""
    return [*message.attachments, *message.inlines]


def _first_of(texts: Sequence[str]) -> str:
    return ", ".join([*texts[:FIRST], *["and more"] * (len(texts) > FIRST)])


def _headers(message: InboundMessage) -> str:
    shown = message.items()[: MOST_HEADERS + 1]
    lines = [f"{one_line(name)}: {one_line(str(value))[:MOST_HEADER]}" for name, value in shown]
    return "\n".join([*lines[:MOST_HEADERS], *["…"] * (len(lines) > MOST_HEADERS)])


def _cut(text: str) -> str:
    shown = printable(text[:MOST_TEXT].replace("\r\n", "\n"))
    return f"{shown}…" if len(text) > MOST_TEXT else shown


def _yes_or_no(answer: bool | None) -> str:
    return "" if answer is None else "yes" if answer else "no"
