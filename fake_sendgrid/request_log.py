"""The log of mail/send requests and accepted mails."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from fake_sendgrid import scenarios
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.rules.addresses import folded


@dataclass(frozen=True, kw_only=True)
class AcceptedMail:
    """An accepted mail."""

    body: dict[str, Any]
    raw: bytes
    x_message_id: str
    key: str | None
    #: Unix seconds.
    at: float
    #: Sandbox mode: SendGrid validates the mail and does not send it.
    sandbox: bool

    def matches(self, value: str) -> bool:
        """Whether `value` is one of its recipients or custom arguments."""
        return any(
            folded(email) == folded(value)
            or value in scenarios.custom_args(self.body, personalization).values()
            for personalization, email in scenarios.recipients(self.body)
        )


class LoggedRequest(NamedTuple):
    """A request to mail/send and its response."""

    key: str | None
    #: Unix seconds of its arrival.
    at: float
    #: None if the mail or the key was invalid.
    mail: dict[str, Any] | None
    response: ApiResponse
    raw: bytes = b""

    @property
    def status(self) -> int | None:
        """None if the connection was closed without a response."""
        return self.response.status


class RequestLog:
    """Keeps the last `keep` requests and mails (None: all)."""

    def __init__(self, keep: int | None) -> None:
        self._lock = threading.Lock()
        #: The number of calls of `clear`. A request that waits during one is forgotten, too.
        self.clears = 0
        self._accepted: deque[AcceptedMail] = deque(maxlen=keep)
        self._requests: deque[LoggedRequest] = deque(maxlen=keep)

    @property
    def accepted(self) -> list[AcceptedMail]:
        with self._lock:
            return list(self._accepted)

    @property
    def requests(self) -> list[LoggedRequest]:
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        with self._lock:
            self.clears += 1
            self._accepted.clear()
            self._requests.clear()

    def add_accepted(self, mail: AcceptedMail) -> None:
        with self._lock:
            self._accepted.append(mail)

    def add_request(self, request: LoggedRequest) -> None:
        with self._lock:
            self._requests.append(request)
