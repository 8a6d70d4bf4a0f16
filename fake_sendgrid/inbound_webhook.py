"""Posts the mails that come in, each until it is taken or lost.

After a 5xx SendGrid tries again for 72 hours, after a 4xx or a 3xx never (Twilio docs, "Inbound Parse
Webhook"). It does not say what it does when nobody answers; this one tries again.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

import requests

from fake_sendgrid.multipart_form import MultipartForm
from fake_sendgrid.webhook_sender import WebhookSender

#: Seconds until a mail is posted again: the first time, and at most.
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


class InboundDelivery:
    """A mail that came in, and how its posts were answered."""

    def __init__(self, form: MultipartForm) -> None:
        self.form = form
        #: One for each post; None: nobody answered.
        self.statuses: list[int | None] = []
        self.settled = threading.Event()

    @property
    def status(self) -> int | None:
        """The last answer."""
        return self.statuses[-1] if self.statuses else None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def wait(self, seconds: float) -> int:
        """Until it is taken or lost: the last answer. Raises TimeoutError."""
        if not self.settled.wait(seconds) or self.status is None:
            raise TimeoutError(f"neither taken nor lost within {seconds:g} s; answers: {self.statuses}")
        return self.status


class InboundWebhook:
    """One post at a time. `keep`: how many of the last mails are remembered; None is all."""

    def __init__(
        self,
        sender: WebhookSender,
        *,
        keep: int | None = None,
        on_post: Callable[[InboundDelivery], None] | None = None,
    ) -> None:
        self._sender = sender
        self._on_post = on_post
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._url: str | None = None
        self._closed = False
        self._received: deque[InboundDelivery] = deque(maxlen=keep)
        #: With when it is due.
        self._waiting: list[tuple[float, int, InboundDelivery]] = []
        self._thread = threading.Thread(target=self._run, name="SendGrid's courier", daemon=True)
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
    def received(self) -> list[InboundDelivery]:
        with self._changed:
            return list(self._received)

    def take(self, form: MultipartForm) -> InboundDelivery:
        inbound = InboundDelivery(form)
        with self._changed:
            self._received.append(inbound)
            self._put(inbound, 0)
        return inbound

    def close(self) -> None:
        """What has not been posted never is."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Not for ever: it may be waiting for an answer.
        self._thread.join(2)

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands before a webhook on this machine
            while inbound := self._next():
                self._settle(inbound, self._post(inbound.form, session))

    def _next(self) -> InboundDelivery | None:
        """The next mail when it is due; None when closed."""
        with self._changed:
            while not self._closed and (seconds := self._seconds_left()) != 0:
                self._changed.wait(seconds)
            return None if self._closed else heapq.heappop(self._waiting)[2]

    def _seconds_left(self) -> float | None:
        """None: until something changes."""
        if not self._waiting or not self._url:
            return None
        return max(0, self._waiting[0][0] - time.monotonic())

    def _post(self, form: MultipartForm, session: requests.Session) -> int | None:
        try:
            return self._sender.post(
                self._url or "", form.body(), session=session, content_type=form.content_type
            ).status_code
        except requests.RequestException:
            return None

    def _settle(self, inbound: InboundDelivery, status: int | None) -> None:
        inbound.statuses.append(status)
        if self._on_post:
            self._on_post(inbound)
        if status is not None and status < 500:
            inbound.settled.set()
            return
        with self._changed:
            self._put(inbound, min(_FIRST_BACKOFF * 2 ** (len(inbound.statuses) - 1), _LONGEST_BACKOFF))

    def _put(self, inbound: InboundDelivery, seconds: float) -> None:
        heapq.heappush(self._waiting, (time.monotonic() + seconds, next(self._numbers), inbound))
        self._changed.notify_all()
