"""The operator's command for events: find, show, retry, replay, discard and count events."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from operator import attrgetter
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from events_app import changes
from events_app.decode import Unreadable
from events_app.dispatch import event_counts
from events_app.filters import EventCriteria, find_events, missing_events
from events_app.management import incoming, status
from events_app.management.incoming import Incoming
from events_app.models import Event
from events_app.normalize import read_event
from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Options, Search
from events_app.shared.console.terminal import attributes, dump, fields, indented
from events_app.signals import EventType

_JSON_FIELDS = ("event_type", "event_id", "message_id", "recipient", "timestamp", "received_at", "webhook")


class Command(Incoming):
    help = "Find, show, retry, replay and discard stored events, and show the state of the pipeline."
    noun = "event"
    changes = changes.EVENTS
    search = Search(EventCriteria, find_events, missing_events)
    large = ("raw",)
    columns: ClassVar = {
        "id": lambda row: str(row.pk),
        "received (UTC)": attrgetter("received_at"),
        "type": attrgetter("event_type"),
        "state": incoming.state,
        "tries": incoming.tries,
        "recipient": attrgetter("recipient"),
        "why": incoming.why_pending,
    }

    def add_arguments(self, parser: CommandParser) -> None:
        actions, _ = self.add_actions(parser)
        status_help = "show what waits, what failed, and the counters"
        actions.add_parser("status", parents=[shared_options.output()], help=status_help)
        actions.add_parser("recount", help="count the stored events anew for charts, after an upgrade")

    def filters(self) -> CommandParser:
        parser, group = self.incoming_filters("an event's id, or SendGrid's sg_event_id", "the recipient")
        group.add_argument("--message-id", metavar="ID", help="the id of the event's message")
        shared_options.add_choices(group, "--type", "types", EventType)
        return parser

    def as_json(self, event: Event) -> dict[str, Any]:
        return {"id": event.pk, **attributes(event, _JSON_FIELDS), **incoming.delivery_as_json(event)}

    def page_as_json(self, event: Event, options: Options) -> dict[str, Any]:
        _, normalized, unreadable = _read(event)
        return {
            **self.as_json(event),
            "event": normalized or None,
            "unreadable": unreadable,
            "raw": _posted(event),
        }

    def page(self, event: Event, options: Options) -> Iterator[str]:
        raw, normalized, unreadable = _read(event)
        yield f"Event {event.pk}"
        yield from fields(
            {**incoming.delivery_facts(event), "received": event.received_at, "webhook": event.webhook}
        )
        yield "\nAs it is read today"
        yield from fields(normalized or {"unreadable": unreadable})
        yield from incoming.tracebacks(event)
        yield "\nAs SendGrid posted it"
        yield from indented(json.dumps(raw, indent=2, ensure_ascii=False) if normalized else _posted(event))

    def _recount(self, options: Options) -> None:
        self.stdout.write(f"The charts have the counts of {self.counted(event_counts.recount())}.")

    def _status(self, options: Options) -> None:
        readings = status.gather_pipeline()
        if options["json"]:
            self.write([dump(status.pipeline_as_json(readings))])
        else:
            self.write(status.pipeline_page(readings))
        if faults := readings.faults():
            raise CommandError("\n".join(faults))


def _read(event: Event) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The object as posted and the normalized event, or two empty objects and the error."""
    try:
        raw, normalized = read_event(bytes(event.raw))
    except Unreadable as error:
        return {}, {}, str(error)
    return raw, {name: value for name, value in asdict(normalized).items() if name != "esp_event"}, ""


def _posted(event: Event) -> str:
    return bytes(event.raw).decode("utf-8", "backslashreplace")
