"""Which events were posted for which mail, and how the webhook answered."""

import threading
import time
from dataclasses import dataclass, field

from fake_sendgrid.event_webhook import EventPost
from fake_sendgrid.events import Event


@dataclass
class PostedEvent:
    event: Event
    #: Unix seconds of the last post.
    at: float
    #: The answers of the webhook, oldest first; None means no answer. A duplicate event has two of 200.
    statuses: list[int | None] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether the webhook has accepted the event (2xx)."""
        return any(status is not None and 200 <= status < 300 for status in self.statuses)


class PostedEvents:
    """The posted events of the last `keep` mails (None: all)."""

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        #: By X-Message-Id, then by the identity of the event: a retry and a duplicate are the same object.
        self._mails: dict[str, dict[int, PostedEvent]] = {}

    def add(self, post: EventPost) -> None:
        now = time.time()
        with self._lock:
            for event in post.events:
                message_id = event["sg_message_id"].partition(".")[0]
                known = self._mails.setdefault(message_id, {})
                posted = known.setdefault(id(event), PostedEvent(event, now))
                posted.at = now
                posted.statuses.append(post.status)
            while self._keep is not None and len(self._mails) > self._keep:
                del self._mails[next(iter(self._mails))]

    def of(self, message_id: str) -> list[PostedEvent]:
        """The events of a mail, in the order of their first post."""
        with self._lock:
            return list(self._mails.get(message_id, {}).values())

    def clear(self) -> None:
        with self._lock:
            self._mails.clear()
