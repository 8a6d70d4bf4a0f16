"""What the double has seen: each request to mail/send, and each mail that was taken."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from fake_sendgrid import fates
from fake_sendgrid.answers import Answer


@dataclass(frozen=True, kw_only=True)
class Accepted:
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
            email.lower() == value.lower() or value in fates.custom_args(self.body, one).values()
            for one, email in fates.recipients(self.body)
        )


class Request(NamedTuple):
    """A request to mail/send, and how it was met."""

    key: str | None
    #: Unix seconds, when it came.
    at: float
    #: None where it was not a valid mail, or its key was wrong.
    mail: dict[str, Any] | None
    answer: Answer

    @property
    def status(self) -> int | None:
        """None: the connection was closed."""
        return self.answer.status


class Ledger:
    """`keep`: how many of the last ones; None is all."""

    def __init__(self, keep: int | None) -> None:
        self._lock = threading.Lock()
        self._accepted: deque[Accepted] = deque(maxlen=keep)
        self._requests: deque[Request] = deque(maxlen=keep)

    @property
    def accepted(self) -> list[Accepted]:
        with self._lock:
            return list(self._accepted)

    @property
    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def accept(self, mail: Accepted) -> None:
        with self._lock:
            self._accepted.append(mail)

    def note(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)
