"""The operator's command: which events there are, what became of them, and have them tried again."""

from typing import ClassVar

from django.core.management.base import CommandError, CommandParser

from events_app import filters, tasks
from events_app.dispatch import kinds
from events_app.filters import Criteria
from events_app.management import arguments, event_pages, status
from events_app.management.incoming import Incoming, Pages, Search
from events_app.shared.console import options
from events_app.shared.console.command import Options
from events_app.shared.console.terminal import dump


class Command(Incoming):
    help = "Stored events: look them up, retry, replay, see what is going on."
    name = "events"
    noun = "event"
    kind = kinds.EVENTS
    search: ClassVar[Search] = filters
    pages: ClassVar[Pages] = event_pages
    large = ("raw",)
    to_wake = (tasks.retry, tasks.recover)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = arguments.add_to(parser, arguments.of_events(), self.noun)
        status_help = "what waits, what failed, what was counted"
        actions.add_parser("status", parents=[options.output()], help=status_help)

    def criteria(self, options: Options) -> Criteria:
        return arguments.events(options)

    def _status(self, options: Options) -> None:
        found, away = status.gather()
        self.write([dump(found)] if options["json"] else status.page(found))
        if away:
            raise CommandError("\n".join(away))
