"""What the double has seen: each request to mail/send, and each mail that was taken."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from fake_sendgrid import scenarios
from fake_sendgrid.responses import ApiResponse


@dataclass(frozen=True, kw_only=True)
class AcceptedMail:
    """A mail that was taken."""

    body: dict[str, Any]
    raw: bytes
    x_message_id: str
    key: str | None
    #: Unix seconds.
    at: float
    #: Valid, and that is all: it is not sent.
    sandbox: bool

    def bears(self, value: str) -> bool:
        """Whether it goes to the address `value`, or has it as a custom argument."""
        return any(
            email.lower() == value.lower() or value in scenarios.custom_args(self.body, one).values()
            for one, email in scenarios.recipients(self.body)
        )


class LoggedRequest(NamedTuple):
    """A request to mail/send, and how it was met."""

    key: str | None
    #: Unix seconds, when it came.
    at: float
    #: None where it was not a valid mail, or its key was wrong.
    mail: dict[str, Any] | None
    answer: ApiResponse

    @property
    def status(self) -> int | None:
        """None: the connection was closed."""
        return self.answer.status


class RequestLog:
    """`keep`: how many of the last ones; None is all."""

    def __init__(self, keep: int | None) -> None:
        self._lock = threading.Lock()
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

    def accept(self, mail: AcceptedMail) -> None:
        with self._lock:
            self._accepted.append(mail)

    def note(self, request: LoggedRequest) -> None:
        with self._lock:
            self._requests.append(request)
