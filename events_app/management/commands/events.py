"""The operator's command for events: find, show, retry and replay events."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from operator import attrgetter
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from events_app import tasks
from events_app.decode import Unreadable
from events_app.dispatch import kinds
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
    help = "Find, show, retry and replay stored events, and show the state of the pipeline."
    name = "events"
    noun = "event"
    kind = kinds.EVENTS
    search = Search(EventCriteria, find_events, missing_events)
    large = ("raw",)
    retry_task = tasks.retry_events
    recover_task = tasks.recover_events
    columns: ClassVar = {
        "id": lambda row: str(row.pk),
        "received (UTC)": attrgetter("received_at"),
        "type": attrgetter("event_type"),
        "state": incoming.state,
        "tries": incoming.tries,
        "recipient": attrgetter("recipient"),
        "why": incoming.why_pending,
    }
    groups: ClassVar = {
        "type": attrgetter("event_type"),
        "state": incoming.state,
        "receivers": incoming.failed_receivers,
    }

    def add_arguments(self, parser: CommandParser) -> None:
        actions, _ = self.add_actions(parser)
        status_help = "show what waits, what failed, and the counters"
        actions.add_parser("status", parents=[shared_options.output()], help=status_help)

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

    def _status(self, options: Options) -> None:
        figures, errors = status.gather_pipeline()
        self.write([dump(figures)] if options["json"] else status.pipeline_page(figures))
        if errors:
            raise CommandError("\n".join(errors))


def _read(event: Event) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The object as posted and the normalized event, or two empty objects and the error."""
    try:
        raw, normalized = read_event(bytes(event.raw))
    except Unreadable as error:
        return {}, {}, str(error)
    return raw, {name: value for name, value in asdict(normalized).items() if name != "esp_event"}, ""


def _posted(event: Event) -> str:
    return bytes(event.raw).decode("utf-8", "backslashreplace")
