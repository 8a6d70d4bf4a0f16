"""The operator's command for inbound mails: find, show, save, retry, replay and discard mails."""

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, cast

from django.core.management.base import CommandError, CommandParser

from events_app import changes
from events_app.decode import Unreadable
from events_app.dispatch.kinds import Unavailable
from events_app.inbound import store
from events_app.inbound.filters import InboundCriteria, find_inbound_mails, missing_inbound_mails
from events_app.inbound.message import InboundMessage
from events_app.management import incoming
from events_app.management.incoming import Incoming
from events_app.models import InboundMail
from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Options, Search
from events_app.shared.console.terminal import Table, attributes, counted, cut, fields, indented

_JSON_FIELDS = (
    *("sender", "recipient", "subject", "message_id", "answers"),
    *("received_at", "webhook", "file", "size"),
)

#: Characters of a mail's text on its page.
MOST_TEXT = 1000

#: Files on a mail's page.
MOST_FILES = 50


def _marks(mail: InboundMail) -> str:
    marks = {"answer": mail.answers, "duplicate": mail.duplicate_of_id}
    return ", ".join(mark for mark, holds in marks.items() if holds)


def _summary(mail: InboundMail) -> str:
    summary = ": ".join(filter(None, (mail.sender, mail.subject)))
    return f"{summary} ({mail.recipient})" if mail.recipient else summary


class Command(Incoming):
    help = "Find, show, save, retry, replay and discard inbound mails."
    noun = "mail"
    changes = changes.INBOUND_MAILS
    search = Search(InboundCriteria, find_inbound_mails, missing_inbound_mails)
    columns: ClassVar = {
        "id": lambda row: str(row.pk),
        "received (UTC)": attrgetter("received_at"),
        "state": incoming.state,
        "tries": incoming.tries,
        "mark": _marks,
        "from: subject (to)": _summary,
        "why": incoming.why_pending,
    }

    def add_arguments(self, parser: CommandParser) -> None:
        actions, _ = self.add_actions(parser)
        save = actions.add_parser("save", parents=[shared_options.own()], help="write a mail to an .eml file")
        save.add_argument("id", metavar="ID", help="the mail's id, or its Message-ID")
        save.add_argument("file", nargs="?", metavar="FILE", help="a new file; without it: the output")
        save.add_argument("--post", action="store_true", help="SendGrid's whole post, not the mail in it")

    def filters(self) -> CommandParser:
        parser, group = self.incoming_filters("a mail's id, or its Message-ID", "the sender or a recipient")
        group.add_argument("--subject", metavar="TEXT", help="the subject contains this text")
        group.add_argument("--answers", metavar="ID", help="answers to this message of ours")
        group.add_argument("--duplicates", action="store_true", help="mails that SendGrid had posted before")
        return parser

    def as_json(self, mail: InboundMail) -> dict[str, Any]:
        return {
            "id": mail.pk,
            **attributes(mail, _JSON_FIELDS),
            "duplicate_of": mail.duplicate_of_id,
            **incoming.delivery_as_json(mail),
        }

    def page_as_json(self, mail: InboundMail, options: Options) -> dict[str, Any]:
        message, unreadable = _read(mail)
        content: dict[str, Any] | None = None
        if message is not None:  # a message without headers is false
            content = {**_facts(message), "text": message.text, "html": message.html}
            content["attachments"] = _files(message)
        return {**self.as_json(mail), "mail": content, "unreadable": unreadable}

    def page(self, mail: InboundMail, options: Options) -> Iterator[str]:
        message, unreadable = _read(mail)
        duplicates = InboundMail.objects.filter(duplicate_of=mail.pk).order_by("pk")
        columns = {
            "answers": mail.answers,
            "duplicate of": mail.duplicate_of_id,
            "duplicates": ", ".join(map(str, duplicates.values_list("pk", flat=True))),
            "Message-ID": mail.message_id,
            "received": mail.received_at,
            "webhook": mail.webhook,
            "file": mail.file,
            "bytes": mail.size,
        }
        yield f"Mail {mail.pk}"
        yield from fields({**incoming.delivery_facts(mail), **columns})
        yield "\nAs it is read today"
        yield from fields({"unreadable": unreadable} if message is None else _facts(message))
        if message is not None:
            yield from _text_and_files(message)
        yield from incoming.tracebacks(mail)

    def _save(self, options: Options) -> None:
        mail_id = options["id"]
        matches = list(find_inbound_mails(InboundCriteria(ids=(mail_id,))).order_by("pk")[:10])
        if not matches:
            raise CommandError(self.no_such([mail_id]))
        if len(matches) > 1:
            numbers = ", ".join(str(mail.pk) for mail in matches)
            raise CommandError(f"Several mails have this Message-ID. Say which by its number: {numbers}.")
        (mail,) = matches
        try:
            content = store.body(mail) if options["post"] else store.parse_mail(mail).message.as_bytes()
        except Unreadable as error:
            hint = "" if options["post"] else " (--post saves what SendGrid posted, if it is there.)"
            raise CommandError(f"{error}{hint}") from error
        except Unavailable as error:
            raise CommandError(str(error)) from error
        self._put(content, options["file"])

    def _put(self, content: bytes, file: str | None) -> None:
        if file is None:
            # The mail's bytes might control a terminal.
            if self.stdout.isatty():
                raise CommandError("Say which file, or use a pipe.")
            cast(Any, self.stdout)._out.buffer.write(content)
            return
        try:
            with Path(file).open("xb") as opened:
                opened.write(content)
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"{counted(len(content), 'byte')} written to {file}.")


def _read(mail: InboundMail) -> tuple[InboundMessage | None, str]:
    """The message, or the error."""
    try:
        return store.parse_mail(mail).message, ""
    except (Unreadable, Unavailable) as error:
        return None, str(error)


def _facts(message: InboundMessage) -> dict[str, Any]:
    return {
        "from": str(message.from_email or ""),
        "to": ", ".join(map(str, message.to)),
        "cc": ", ".join(map(str, message.cc)),
        **attributes(message, ("subject", "date")),
        "envelope_from": message.envelope_sender,
        "envelope_to": ", ".join(message.envelope_recipients),
        "in_reply_to": " ".join(message.in_reply_to),
        **attributes(message, ("sender_ip", "spf", "dkim")),
        "spam": message.spam_detected,
        "spam_score": message.spam_score,
    }


def _files(message: InboundMessage) -> list[dict[str, Any]]:
    parts = [*((part, False) for part in message.attachments), *((part, True) for part in message.inlines)]
    return [
        {
            "name": part.get_filename(""),
            "type": part.get_content_type(),
            "size": len(part.get_content_bytes()),
            "inline": inline,
        }
        for part, inline in parts
    ]


def _text_and_files(message: InboundMessage) -> Iterator[str]:
    """The beginning of the text, or of the HTML's source in a mail without text, and a table of files."""
    name, text = ("Text", message.text) if message.text else ("HTML", message.html or "")
    if text:
        size = f", the first {MOST_TEXT} of {len(text)} characters" if len(text) > MOST_TEXT else ""
        yield f"\n{name}{size}"
        yield from indented(text[:MOST_TEXT].replace("\r\n", "\n"))
    if files := _files(message):
        yield f"\nFiles, the first {MOST_FILES} of {len(files)}" if len(files) > MOST_FILES else "\nFiles"
        rows = [
            (cut(file["name"], 80), file["type"], file["size"], "inline" if file["inline"] else "")
            for file in files[:MOST_FILES]
        ]
        yield from Table(("name", "type", "bytes", ""), indent="  ").lines(rows)
