"""The content of an event's page."""

import json
from typing import Any

from django.db.models.functions import Coalesce
from django.utils.text import Truncator

from events_app.admin.delivery import delivery_context
from events_app.admin.words import type_word
from events_app.decode import Unreadable
from events_app.models import Event
from events_app.normalize import read_event
from events_app.shared.admin.links import link_to, mail_link
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer
from events_app.shared.escaping import one_line
from events_app.signals import TrackingEvent

#: Other events of the mail on a page.
FIRST = 50

#: Characters of the posted event on a page.
MOST_POSTED = 100_000


def event_context(row: Event, viewer: Viewer) -> dict[str, Any]:
    """The context of the template "event.html"."""
    raw = bytes(row.raw)
    unreadable = description = ""
    details: list[tuple[str, object]] = []
    try:
        posted_object, event = read_event(raw)
    except Unreadable as error:
        unreadable, posted = str(error), raw.decode("utf-8", "backslashreplace")
    else:
        description = one_line(event.description or "")  # has no address
        details = _details(event, viewer)
        posted = json.dumps(posted_object, indent=2, ensure_ascii=False)
    return {
        "title": f"Event {row.pk}",
        "subtitle": None,
        "type": type_word(row.event_type),
        "unreadable": unreadable,
        "description": description,
        "facts": [
            ("Recipient", viewer.address(row.recipient)),
            ("Happened", utc_time(row.timestamp)),
            ("Received", utc_time(row.received_at)),
            ("Mail", mail_link(row.message_id)),
            *details,
            ("SendGrid's event id", one_line(row.event_id)),
        ],
        "delivery": delivery_context(row, viewer),
        "others": _others_of_mail(row, viewer),
        "posted": Truncator(viewer.quoting(posted)).chars(MOST_POSTED),
    }


def _details(event: TrackingEvent, viewer: Viewer) -> list[tuple[str, object]]:
    return [
        ("Reason", event.reject_reason or ""),
        ("Answer of the mail server", one_line(viewer.quoting(event.mta_response or ""))),
        ("Clicked URL", one_line(viewer.quoting(event.click_url or ""))),
        ("User agent", viewer.line(event.user_agent or "")),
        ("Tags", viewer.line(", ".join(event.tags))),
        *(
            (f"Metadata {viewer.line(name)}", viewer.line(str(value)))
            for name, value in event.metadata.items()
        ),
    ]


def _others_of_mail(row: Event, viewer: Viewer) -> dict[str, Any]:
    """The first further events of the mail, by time."""
    if not row.message_id:
        return {}
    events = Event.objects.filter(message_id=row.message_id).exclude(pk=row.pk).defer("raw")
    shown = list(events.order_by(Coalesce("timestamp", "received_at"), "pk")[: FIRST + 1])
    return {
        "events": [
            {
                "link": link_to(other, str(other.pk)),
                "type": type_word(other.event_type),
                "recipient": viewer.address(other.recipient),
                "happened": utc_time(other.timestamp),
            }
            for other in shown[:FIRST]
        ],
        "first": FIRST if len(shown) > FIRST else None,
        "message_id": row.message_id,
    }
