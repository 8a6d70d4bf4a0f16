"""Posts the events of accepted mails to the webhook: gathered, signed, and again until they are answered 2xx.

As SendGrid does it, there may be repeats and disorder, and what has failed comes back in other batches.
SendGrid gives an event up after 24 hours; this one when it is closed.
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

#: Seconds until a failed post's events are posted again: the first time, and at most.
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


@dataclass(frozen=True, kw_only=True)
class PostingOptions:
    """How events are posted."""

    #: Events in one post, at most.
    batch_size: int = 200
    #: Seconds in which they are gathered.
    gather_seconds: float = 0.05
    #: The share that is posted a second time.
    duplicates: float = 0.0
    #: The share that is held back for a later post; each post is shuffled as well.
    disorder: float = 0.0
    #: Seconds between a mail's acceptance and its events.
    delay: float = 0.0


class EventPost(NamedTuple):
    events: list[Event]
    #: None: nobody answered.
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
    #: It keeps its place from now on: it is a repeat, or has been held back.
    settled: bool = field(default=False, compare=False)
    repeat: bool = field(default=False, compare=False)


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
        self._holds = self._keeps_refused = self._closed = False
        #: Mails whose events are not made yet: there may be no webhook for them.
        self._mails: deque[tuple[float, Callable[[], list[Event]]]] = deque()
        self._events: list[_QueuedEvent] = []
        #: Those that were not taken and are not to be posted again yet.
        self._refused: list[_QueuedEvent] = []
        self._in_hand = 0
        self._posted: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="SendGrid's postman", daemon=True)
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
    def posted(self) -> Counter[str]:
        """How often each kind of event has been answered 2xx, repeats as well."""
        with self._changed:
            return self._posted.copy()

    def take(self, make: Callable[[], list[Event]]) -> None:
        """The events of a mail, to be made when they are due."""
        with self._changed:
            self._mails.append((time.monotonic() + self._posting.delay, make))
            # Not for each mail: the thread would wake for every one, only to go on gathering.
            if len(self._mails) == 1 or len(self._mails) + len(self._events) == self._posting.batch_size:
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
        """How many events are kept after a post that was not taken."""
        with self._changed:
            return len(self._refused)

    def pause_retries(self) -> None:
        """Repeat no post that is not taken, until `resume_retries`; newer events are posted meanwhile."""
        with self._changed:
            self._keeps_refused = True

    def resume_retries(self) -> None:
        with self._changed:
            self._keeps_refused = False
            for one in self._refused:
                self._put_back(one, 0)
            self._refused.clear()
            self._changed.notify_all()

    def wait_until_posted(self, seconds: float) -> None:
        """Until all events of all mails have been answered 2xx; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(self._is_done, seconds):
                waiting = f"{len(self._mails)} mails' and {self._others()} other events"
                where = "" if self._url else ", and webhook_url is not set"
                raise TimeoutError(f"{waiting} have not been taken within {seconds:g} s{where}")

    def close(self) -> None:
        """What has not been posted never is."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Not for ever: it may be waiting for an answer.
        self._thread.join(2)

    def _is_done(self) -> bool:
        return not (self._mails or self._others())

    def _others(self) -> int:
        return len(self._events) + len(self._refused) + self._in_hand

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands before a webhook on this machine
            while self._wait():
                found = self._gather()
                if found:
                    self._settle(found, self._post([one.event for one in found], session))

    def _wait(self) -> bool:
        """Until there is something to post; False when closed."""
        with self._changed:
            while not self._closed and (seconds := self._seconds_left()) != 0:
                self._changed.wait(seconds)
            return not self._closed

    def _seconds_left(self) -> float | None:
        """None: until something changes."""
        dues = [self._mails[0][0]] if self._mails else []
        dues += [self._events[0].due] if self._events else []
        if not dues or self._holds or not self._url:
            return None
        full = len(self._mails) + len(self._events) >= self._posting.batch_size
        begin = min(dues) + (0 if full else self._posting.gather_seconds)
        return max(0, begin - time.monotonic())

    def _gather(self) -> list[_QueuedEvent]:
        with self._changed:
            now = time.monotonic()
            while self._mails and self._mails[0][0] <= now and len(self._events) < self._posting.batch_size:
                due, make = self._mails.popleft()
                for event in make():
                    self._put(_QueuedEvent(due, next(self._numbers), event))
            found: list[_QueuedEvent] = []
            while self._events and self._events[0].due <= now and len(found) < self._posting.batch_size:
                one = heapq.heappop(self._events)
                if self._is_held_back(one):
                    self._put_back(one, self._later())
                else:
                    found.append(one)
            if self._posting.disorder:
                self._rng.shuffle(found)
            self._in_hand = len(found)
            # Mails may have had no events at all.
            self._changed.notify_all()
            return found

    def _is_held_back(self, one: _QueuedEvent) -> bool:
        was_settled, one.settled = one.settled, True
        return not was_settled and self._rng.random() < self._posting.disorder

    def _post(self, events: list[Event], session: requests.Session) -> EventPost:
        try:
            status = self._sender.post(self._url or "", event_batch(events), session=session).status_code
        except requests.RequestException:
            return EventPost(events, None)
        return EventPost(events, status)

    def _settle(self, found: list[_QueuedEvent], post: EventPost) -> None:
        # First: who waits until all is posted may look at what came of it.
        if self._on_post:
            self._on_post(post)
        with self._changed:
            for one in found:
                if post.succeeded:
                    self._posted[one.event["event"]] += 1
                    self._perhaps_repeat(one)
                    continue
                one.tries += 1
                if self._keeps_refused:
                    self._refused.append(one)
                else:
                    self._put_back(one, min(_FIRST_BACKOFF * 2 ** (one.tries - 1), _LONGEST_BACKOFF))
            self._in_hand = 0
            self._changed.notify_all()

    def _perhaps_repeat(self, one: _QueuedEvent) -> None:
        if not one.repeat and self._rng.random() < self._posting.duplicates:
            again = _QueuedEvent(0, next(self._numbers), one.event, settled=True, repeat=True)
            self._put_back(again, self._later())

    def _later(self) -> float:
        return self._rng.uniform(1, 4) * self._posting.gather_seconds

    def _put_back(self, one: _QueuedEvent, seconds: float) -> None:
        one.due = time.monotonic() + seconds
        self._put(one)

    def _put(self, one: _QueuedEvent) -> None:
        heapq.heappush(self._events, one)
