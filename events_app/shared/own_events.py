"""Events of ours, told to the receivers of `tracking` like SendGrid's events. events_app keeps them.

An event of ours moves the status of a recipient. It proves nothing about SendGrid.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

#: The key that marks an event as ours, in its raw JSON. The value names the cause.
MARK = "sendgrid_pipeline"

#: A value of MARK: the recipient was left out of a mail, as the address is suppressed.
SUPPRESSED = "suppressed"

#: A value of MARK: the person used the link of `List-Unsubscribe`.
UNSUBSCRIBED = "unsubscribe"

#: In an event marked UNSUBSCRIBED: the stream of mail (`message.unsubscribe_scope`); empty: all mail.
SCOPE = "unsubscribe_scope"

#: The webhook of these events, in the rows and in `signals.webhook_views`. No webhook takes them.
WEBHOOK = "own"

#: Raw events in SendGrid's format.
RawEvents: TypeAlias = Sequence[Mapping[str, Any]]

#: Stores events in the current transaction, with their pending deliveries; after the commit a worker calls
#: the receivers. In a test run the receivers are called at once. Set when events_app is ready. Raises
#: database errors.
keep: Callable[[RawEvents], None]


def is_own(raw: Mapping[str, Any]) -> bool:
    """Whether the raw event is one of ours."""
    return MARK in raw
