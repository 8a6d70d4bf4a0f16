"""Links to unsubscribe, and a short way for the events of the page into the suppressed addresses."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from events_app.shared.addresses import comparable
from events_app.shared.own_events import RawEvents
from sending_app.models import Suppression
from sending_app.outbox import using
from sending_app.suppression.record import Word, record_words
from sending_app.unsubscribe_links import Link, make_url

#: The public URL of `sending_app.urls` in tests.
PREFIX = "https://mail.example.com/mail/"

MESSAGE_ID = str(UUID(int=1))


def link(address: str = "ann@example.com", scope: str = "news", message_id: str = MESSAGE_ID) -> Link:
    return Link(address, scope, message_id)


def token_of(of: Link | None = None) -> str:
    return urlsplit(make_url(of or link(), PREFIX)).path.rpartition("/")[2]


def path_of(of: Link | None = None) -> str:
    """The path of the page in `project.urls`."""
    return urlsplit(make_url(of or link(), PREFIX)).path


def header_of(personalization: dict[str, Any]) -> str:
    """The URL in the header of a request's personalization."""
    header: str = personalization["headers"]["List-Unsubscribe"]
    assert header[0] + header[-1] == "<>"
    return header[1:-1]


class KeptEvents:
    """In place of `own_events.keep`: gathers the events, and records their words at once."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, events: RawEvents) -> None:
        new = [dict(event) for event in events if event["sg_event_id"] not in self.ids]
        self.events += new
        record_words([_word(event) for event in new], using())

    @property
    def ids(self) -> Sequence[str]:
        return [event["sg_event_id"] for event in self.events]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]


def _word(event: dict[str, Any]) -> Word:
    return Word(
        address=comparable(event["email"]),
        scope=event["unsubscribe_scope"],
        reason=Suppression.Reason.UNSUBSCRIBED,
        active=event["event"] == "group_unsubscribe",
        at=datetime.fromtimestamp(event["timestamp"], UTC),
        source=Suppression.Source.EVENT,
        event_id=event["sg_event_id"],
    )
