"""Inbound mails as text for a terminal, and as JSON for a pipe."""

from collections.abc import Iterator, Mapping
from typing import Any

from events_app.decode import Unreadable
from events_app.dispatch.filters import pending_of, state_of
from events_app.dispatch.kinds import Unavailable
from events_app.inbound import store
from events_app.inbound.filters import mails as all_mails
from events_app.inbound.message import InboundMessage
from events_app.management import rendering
from events_app.models import InboundMail
from events_app.shared.console.terminal import Table, columns, cut, fields, indented, printable

_HEADER = ("id", "received (UTC)", "state", "tries", "mark", "from: subject (to)", "why")
_TRIES = 3

#: What a dry run counts by.
GROUPS: Mapping[str, str] = {"state": "state", "receivers": "failed receivers"}

#: Characters of a mail's text that are shown.
FIRST = 1000

#: Files that are shown, and characters of their names.
MOST_FILES = 50
LONGEST_NAME = 80


def table(width: int | None) -> Table:
    return Table(_HEADER, frozenset({_TRIES}), width, most=80)


def cells(mail: InboundMail) -> tuple[str, ...]:
    """The mail's row in a table."""
    pending = pending_of(mail)
    marks = {"answer": mail.answers, "duplicate": mail.duplicate_of_id}
    mailed = ": ".join(filter(None, (mail.sender, mail.subject)))
    to = f" ({mail.recipient})" if mail.recipient else ""
    return (
        str(mail.pk),
        rendering.minute(mail.received_at),
        state_of(pending),
        rendering.tries(pending),
        ", ".join(mark for mark, holds in marks.items() if holds),
        printable(mailed + to).replace("\n", " ").strip(),
        rendering.why(pending),
    )


def group(mail: InboundMail) -> tuple[str | tuple[str, ...], ...]:
    """Where a dry run counts it."""
    pending = pending_of(mail)
    return state_of(pending).value, tuple(rendering.failed_receivers(pending))


def as_json(mail: InboundMail) -> dict[str, Any]:
    """All there is in the columns, and the pending delivery."""
    names = (
        "sender",
        "recipient",
        "subject",
        "message_id",
        "answers",
        "received_at",
        "webhook",
        "file",
        "size",
    )
    return {
        "id": mail.pk,
        **{name: getattr(mail, name) for name in names},
        "duplicate_of": mail.duplicate_of_id,
        **rendering.as_json(mail),
    }


def in_full_as_json(mail: InboundMail) -> dict[str, Any]:
    """The same, with the mail as it is read today."""
    found, unreadable = _read(mail)
    # Not by its truth: a message without headers has none.
    message = None if found is None else _message_as_json(found)
    return {**as_json(mail), "mail": message, "unreadable": unreadable}


def _read(mail: InboundMail) -> tuple[InboundMessage | None, str]:
    """The mail, and why it is none."""
    try:
        return store.parse(mail).message, ""
    except (Unreadable, Unavailable) as error:
        return None, str(error)


def _message_as_json(message: InboundMessage) -> dict[str, Any]:
    return {
        **_facts(message),
        "text": message.text,
        "html": message.html,
        "attachments": [
            {"name": name, "type": kind, "size": size, "inline": bool(inline)}
            for name, kind, size, inline in _files(message)
        ],
    }


def _facts(message: InboundMessage) -> dict[str, Any]:
    return {
        "from": str(message.from_email or ""),
        "to": ", ".join(map(str, message.to)),
        "cc": ", ".join(map(str, message.cc)),
        "subject": message.subject,
        "date": message.date,
        "envelope_from": message.envelope_sender,
        "envelope_to": ", ".join(message.envelope_recipients),
        "in_reply_to": " ".join(message.in_reply_to),
        "sender_ip": message.sender_ip,
        "spf": message.spf,
        "dkim": message.dkim,
        "spam": message.spam_detected,
        "spam_score": message.spam_score,
    }


def _files(message: InboundMessage) -> list[tuple[str, str, int, str]]:
    """The name, type and size of the files, and whether they are shown within the text."""
    parts = [*((part, "") for part in message.attachments), *((part, "inline") for part in message.inlines)]
    return [
        (part.get_filename(""), part.get_content_type(), len(part.get_content_bytes()), inline)
        for part, inline in parts
    ]


def page(mail: InboundMail) -> Iterator[str]:
    """Everything there is of one mail, but for the end of a long text."""
    found, unreadable = _read(mail)
    yield f"Mail {mail.pk}"
    yield from fields({**rendering.facts(mail), **_of_row(mail)})
    yield "\nAs it is read today"
    yield from fields({"unreadable": unreadable} if found is None else _facts(found))
    if found is not None:
        yield from text(found, FIRST)
        yield from _table_of_files(found)
    yield from rendering.failures(mail)


def _of_row(mail: InboundMail) -> dict[str, object]:
    duplicates = all_mails().filter(duplicate_of=mail.pk).order_by("pk").values_list("pk", flat=True)
    return {
        "answers": mail.answers,
        "duplicate of": mail.duplicate_of_id,
        "duplicates": ", ".join(map(str, duplicates)),
        "Message-ID": mail.message_id,
        "received": mail.received_at,
        "webhook": mail.webhook,
        "file": mail.file,
        "bytes": mail.size,
    }


def _table_of_files(message: InboundMessage) -> Iterator[str]:
    if files := _files(message):
        more = f", the first {MOST_FILES} of {len(files)}" if len(files) > MOST_FILES else ""
        yield f"\nFiles{more}"
        shown = [
            (cut(name, LONGEST_NAME), kind, size, inline) for name, kind, size, inline in files[:MOST_FILES]
        ]
        yield from (f"  {line}" for line in columns(("name", "type", "bytes", ""), shown))


def text(message: InboundMessage, most: int) -> Iterator[str]:
    """The first so many characters of the text, or of the HTML, as it is written, where there is no text."""
    what, said = ("Text", message.text) if message.text else ("HTML", message.html or "")
    if said:
        yield f"\n{what}" + (f", the first {most} of {len(said)} characters" if len(said) > most else "")
        yield from indented(said[:most].replace("\r\n", "\n"))
