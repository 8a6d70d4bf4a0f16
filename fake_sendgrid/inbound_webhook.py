"""SendGrid's Inbound Parse: posts each inbound mail to the webhook until it is accepted or lost.

SendGrid retries for 72 hours after a 5xx, and never after a 4xx or a 3xx (Twilio docs, "Inbound Parse
Webhook"). The docs say nothing about a timeout; this class retries then.
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

#: Seconds before a retry: the first backoff and the longest one.
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


class InboundDelivery:
    """An inbound mail and the status of each of its posts."""

    def __init__(self, form: MultipartForm, in_reply_to: str | None = None) -> None:
        self.form = form
        #: The Message-ID of the mail that it replies to.
        self.in_reply_to = in_reply_to
        #: Unix seconds.
        self.at = time.time()
        #: The status of every post; None without a response.
        self.statuses: list[int | None] = []
        self.finished = threading.Event()

    @property
    def status(self) -> int | None:
        """The status of the last post."""
        return self.statuses[-1] if self.statuses else None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def wait(self, seconds: float) -> int:
        """Wait until the mail is accepted or lost; return the last status. Raises TimeoutError."""
        if not self.finished.wait(seconds) or self.status is None:
            raise TimeoutError(f"neither accepted nor lost within {seconds:g} s; statuses: {self.statuses}")
        return self.status


class InboundWebhook:
    """Posts one mail at a time and keeps the last `keep` mails (None: all)."""

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
        #: A heap of (time of the next post, number, mail).
        self._waiting: list[tuple[float, int, InboundDelivery]] = []
        self._thread = threading.Thread(target=self._run, name="fake_sendgrid inbound webhook", daemon=True)
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

    def deliver(self, form: MultipartForm, in_reply_to: str | None = None) -> InboundDelivery:
        delivery = InboundDelivery(form, in_reply_to)
        with self._changed:
            self._received.append(delivery)
            self._schedule(delivery, 0)
        return delivery

    def clear(self) -> None:
        """Forget every mail, also one that has not been accepted."""
        with self._changed:
            self._received.clear()
            self._waiting.clear()

    def close(self) -> None:
        """Stop; mails that have not been posted are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # The thread may wait for a response of the webhook, so limit the wait.
        self._thread.join(2)

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False  # a webhook on this machine needs no proxy
            while delivery := self._next():
                self._record(delivery, self._post(delivery.form, session))

    def _next(self) -> InboundDelivery | None:
        """Wait for the next mail that is due; return None after `close`."""
        with self._changed:
            while not self._closed and (seconds := self._seconds_left()) != 0:
                self._changed.wait(seconds)
            return None if self._closed else heapq.heappop(self._waiting)[2]

    def _seconds_left(self) -> float | None:
        """Seconds until the next post; None without a mail or a URL."""
        if not self._waiting or not self._url:
            return None
        return max(0, self._waiting[0][0] - time.monotonic())

    def _post(self, form: MultipartForm, session: requests.Session) -> int | None:
        try:
            return self._sender.post(
                self._url or "", form.body(), session=session, content_type=form.content_type
            ).status_code
        except (requests.RequestException, ValueError):  # ValueError: no host can have this name
            return None

    def _record(self, delivery: InboundDelivery, status: int | None) -> None:
        delivery.statuses.append(status)
        if self._on_post:
            self._on_post(delivery)
        if status is not None and status < 500:
            delivery.finished.set()
            return
        with self._changed:
            if delivery not in self._received:
                return  # `clear` came during the post, or newer mails have displaced it
            backoff = min(_FIRST_BACKOFF * 2 ** (len(delivery.statuses) - 1), _LONGEST_BACKOFF)
            self._schedule(delivery, backoff)

    def _schedule(self, delivery: InboundDelivery, seconds: float) -> None:
        heapq.heappush(self._waiting, (time.monotonic() + seconds, next(self._numbers), delivery))
        self._changed.notify_all()
