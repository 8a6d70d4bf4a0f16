"""For the tests of a project: build events and mails, post them to the webhooks, and make deliveries.

Docs: docs/testing.md.
"""

from events_app.dispatch.eager import record_failures
from events_app.testing.deliveries import drain
from events_app.testing.events import raw_event, tracking_event
from events_app.testing.mails import inbound_event
from events_app.testing.posts import post_events, post_inbound

__all__ = [
    "drain",
    "inbound_event",
    "post_events",
    "post_inbound",
    "raw_event",
    "record_failures",
    "tracking_event",
]
