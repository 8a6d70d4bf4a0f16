"""SendGrid's Event Webhook: gathers the events of accepted mails, signs them, and posts them until a 2xx.

As at SendGrid, events may come twice or out of order, and failed events are retried in other batches.
SendGrid gives up after 24 hours; this class gives up when it is closed.
"""

import heapq
import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import requests

from fake_sendgrid.events import Event
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

#: Seconds before a retry: the first backoff and the longest one.
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


@dataclass(frozen=True, kw_only=True)
class PostingOptions:
    """How events are posted."""

    #: The most events in one post.
    batch_size: int = 200
    #: Seconds to gather events for a post.
    gather_seconds: float = 0.05
    #: The share of events posted twice.
    duplicates: float = 0.0
    #: The share of events moved to a later post. Each post is shuffled, too.
    disorder: float = 0.0
    #: Seconds between the acceptance of a mail and its events.
    delay: float = 0.0


class EventPost(NamedTuple):
    events: list[Event]
    #: None means no response.
    status: int | None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(order=True)
class _QueuedEvent:
    due: float
    number: int
    event: Event = field(compare=False)
    tries: int = field(default=0, compare=False)
    #: Whether it may no longer be moved to a later post.
    placed: bool = field(default=False, compare=False)
    duplicate: bool = field(default=False, compare=False)


class EventWebhook:
    def __init__(
        self,
        sender: WebhookSender,
        posting: PostingOptions,
        *,
        seed: int = 1,
        on_post: Callable[[EventPost], None] | None = None,
    ) -> None:
        self._sender = sender
        self._posting = posting
        self._rng = random.Random(seed)  # noqa: S311 (not for secrets)
        self._on_post = on_post
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._url: str | None = None
        self._holds = self._retries_paused = self._closed = False
        #: Mails whose events have not been made yet, with the time to make them.
        self._mails: deque[tuple[float, Callable[[], list[Event]]]] = deque()
        self._events: list[_QueuedEvent] = []
        #: Failed events that wait for `resume_retries`.
        self._failed: list[_QueuedEvent] = []
        self._in_flight = 0
        #: The number of calls of `clear`. A post that is in flight during one has no effect.
        self._clears = 0
        self._posted: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="fake_sendgrid event webhook", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str | None:
        return self._url

    @url.setter
    def url(self, url: str | None) -> None:
        with self._changed:
            self._url = url
            self._changed.notify_all()

    @property
    def posting(self) -> PostingOptions:
        return self._posting

    @posting.setter
    def posting(self, posting: PostingOptions) -> None:
        with self._changed:
            self._posting = posting
            self._changed.notify_all()

    @property
    def posted(self) -> Counter[str]:
        """How many events of each kind were accepted (2xx), duplicates included."""
        with self._changed:
            return self._posted.copy()

    def schedule(self, make: Callable[[], list[Event]]) -> None:
        """Schedule the events of a mail. `make` returns them when they are due."""
        with self._changed:
            self._mails.append((time.monotonic() + self._posting.delay, make))
            # Not for each mail: the thread would wake up only to go on gathering.
            if len(self._mails) == 1 or len(self._mails) + len(self._events) == self._posting.batch_size:
                self._changed.notify_all()

    def add(self, event: Event) -> None:
        """Post an event as soon as possible."""
        with self._changed:
            self._put(_QueuedEvent(time.monotonic(), next(self._numbers), event))
            self._changed.notify_all()

    def clear(self) -> None:
        """Drop the events that have not been accepted, and count from 0. Nothing is held or paused."""
        with self._changed:
            self._holds = self._retries_paused = False
            self._mails.clear()
            self._events.clear()
            self._failed.clear()
            self._posted.clear()
            self._clears += 1
            self._changed.notify_all()

    def hold(self) -> None:
        with self._changed:
            self._holds = True

    def release(self) -> None:
        with self._changed:
            self._holds = False
            self._changed.notify_all()

    @property
    def failed_event_count(self) -> int:
        """How many failed events wait for `resume_retries`."""
        with self._changed:
            return len(self._failed)

    def pause_retries(self) -> None:
        """Retry no failed post until `resume_retries`. Newer events are still posted."""
        with self._changed:
            self._retries_paused = True

    def resume_retries(self) -> None:
        with self._changed:
            self._retries_paused = False
            for queued in self._failed:
                self._put_back(queued, 0)
            self._failed.clear()
            self._changed.notify_all()

    def wait_until_posted(self, seconds: float) -> None:
        """Wait until every event of every mail is accepted (2xx). Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(self._is_done, seconds):
                pending = f"{len(self._mails)} mails' events and {self._unaccepted()} further events"
                hint = "" if self._url else ", and webhook_url is not set"
                raise TimeoutError(f"{pending} have not been accepted within {seconds:g} s{hint}")

    def close(self) -> None:
        """Stop; events that have not been posted are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # The thread may wait for a response of the webhook, so limit the wait.
        self._thread.join(2)

    def _is_done(self) -> bool:
        return not (self._mails or self._unaccepted())

    def _unaccepted(self) -> int:
        return len(self._events) + len(self._failed) + self._in_flight

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False  # a webhook on this machine needs no proxy
            while self._wait():
                clears, queued = self._gather()
                if queued:
                    post = self._post([one.event for one in queued], session)
                    if self._is_idle():
                        # Before a test goes on: a kept connection would outlive its live server.
                        session.close()
                    self._handle_result(clears, queued, post)

    def _is_idle(self) -> bool:
        with self._changed:
            return self._seconds_left() is None

    def _wait(self) -> bool:
        """Wait for an event to post; return False after `close`."""
        with self._changed:
            while not self._closed and (seconds := self._seconds_left()) != 0:
                self._changed.wait(seconds)
            return not self._closed

    def _seconds_left(self) -> float | None:
        """Seconds until the next post; None without an event or a URL, or while events are held."""
        dues = [self._mails[0][0]] if self._mails else []
        dues += [self._events[0].due] if self._events else []
        if not dues or self._holds or not self._url:
            return None
        full = len(self._mails) + len(self._events) >= self._posting.batch_size
        begin = min(dues) + (0 if full else self._posting.gather_seconds)
        return max(0, begin - time.monotonic())

    def _gather(self) -> tuple[int, list[_QueuedEvent]]:
        with self._changed:
            now = time.monotonic()
            while self._mails and self._mails[0][0] <= now and len(self._events) < self._posting.batch_size:
                due, make = self._mails.popleft()
                for event in make():
                    self._put(_QueuedEvent(due, next(self._numbers), event))
            batch: list[_QueuedEvent] = []
            while self._events and self._events[0].due <= now and len(batch) < self._posting.batch_size:
                queued = heapq.heappop(self._events)
                if self._moves_to_later_post(queued):
                    self._put_back(queued, self._later())
                else:
                    batch.append(queued)
            if self._posting.disorder:
                self._rng.shuffle(batch)
            self._in_flight = len(batch)
            # The mails may have had no events, so `wait_until_posted` may be over.
            self._changed.notify_all()
            return self._clears, batch

    def _moves_to_later_post(self, queued: _QueuedEvent) -> bool:
        was_placed, queued.placed = queued.placed, True
        return not was_placed and self._rng.random() < self._posting.disorder

    def _post(self, events: list[Event], session: requests.Session) -> EventPost:
        try:
            status = self._sender.post(self._url or "", event_batch(events), session=session).status_code
        except (requests.RequestException, ValueError):  # ValueError: no host can have this name
            return EventPost(events, None)
        return EventPost(events, status)

    def _handle_result(self, clears: int, batch: list[_QueuedEvent], post: EventPost) -> None:
        # Call back first: after `wait_until_posted` a test may look at the effects.
        if self._on_post and clears == self._clears:
            self._on_post(post)
        with self._changed:
            for queued in batch if clears == self._clears else ():
                if post.succeeded:
                    self._posted[queued.event["event"]] += 1
                    self._maybe_duplicate(queued)
                    continue
                queued.tries += 1
                if self._retries_paused:
                    self._failed.append(queued)
                else:
                    self._put_back(queued, min(_FIRST_BACKOFF * 2 ** (queued.tries - 1), _LONGEST_BACKOFF))
            self._in_flight = 0
            self._changed.notify_all()

    def _maybe_duplicate(self, queued: _QueuedEvent) -> None:
        if not queued.duplicate and self._rng.random() < self._posting.duplicates:
            again = _QueuedEvent(0, next(self._numbers), queued.event, placed=True, duplicate=True)
            self._put_back(again, self._later())

    def _later(self) -> float:
        return self._rng.uniform(1, 4) * self._posting.gather_seconds

    def _put_back(self, queued: _QueuedEvent, seconds: float) -> None:
        queued.due = time.monotonic() + seconds
        self._put(queued)

    def _put(self, queued: _QueuedEvent) -> None:
        heapq.heappush(self._events, queued)
