"""The operator's command for mails that came in: what is in them, what became of them, once more."""

from pathlib import Path
from typing import Any, ClassVar, cast

from django.core.management.base import CommandError, CommandParser

from events_app import tasks
from events_app.decode import Unreadable
from events_app.dispatch.kinds import Unavailable
from events_app.inbound import filters, store
from events_app.inbound.filters import Criteria
from events_app.management import arguments, mail_pages
from events_app.management.incoming import Incoming, Pages, Search
from events_app.models import InboundMail
from events_app.shared.console.command import Options
from events_app.shared.console.terminal import counted


class Command(Incoming):
    help = "Inbound mails: look them up, read them, retry, replay."
    name = "inbound"
    noun = "mail"
    kind = store.INBOUND_MAILS
    search: ClassVar[Search] = filters
    pages: ClassVar[Pages] = mail_pages
    to_wake = (tasks.retry_inbound, tasks.recover_inbound)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = arguments.add_to(parser, arguments.of_mails(), self.noun)
        arguments.add_save(actions)

    def criteria(self, options: Options) -> Criteria:
        return arguments.mails(options)

    def _save(self, options: Options) -> None:
        mail = self._one(options["id"])
        try:
            content = store.body(mail) if options["post"] else store.parse(mail).message.as_bytes()
        except Unreadable as error:
            hint = "" if options["post"] else " (--post saves what SendGrid posted, if it is there.)"
            raise CommandError(f"{error}{hint}") from error
        except Unavailable as error:
            raise CommandError(str(error)) from error
        self._put(content, options["file"])

    def _one(self, id: str) -> InboundMail:
        found = list(filters.find(Criteria(ids=(id,))).order_by("pk")[:10])
        if not found:
            raise CommandError(self.without([id]))
        if len(found) > 1:
            numbers = ", ".join(str(mail.pk) for mail in found)
            raise CommandError(f"Several mails have this Message-ID. Say which by its number: {numbers}.")
        return found[0]

    def _put(self, content: bytes, file: str | None) -> None:
        if file is None:
            # What is in it might do things to a terminal.
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
