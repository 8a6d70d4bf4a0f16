"""How the double meets a mail that is valid: ready-made answers, right, wrong, late and none."""

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from fake_sendgrid.rules.fault import Fault

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."


class Held:
    """A request that waits until it is released."""

    def __init__(self, *, after_accepting: bool = False) -> None:
        self.after_accepting = after_accepting
        #: Set when the request is there, and accepted if it is held after that.
        self.arrived = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def wait(self) -> None:
        self.arrived.set()
        self._released.wait()


@dataclass(frozen=True, kw_only=True)
class Answer:
    #: None: the connection is closed without a word.
    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The mail is taken and its events follow, whatever is said of it.
    accepts: bool = False
    #: Whether X-Message-Id goes along with a 202.
    tells_id: bool = True
    #: Seconds before anything is done.
    pause: float = 0.0
    #: For the rate-limit headers: seconds from the answer on.
    resets_in: float | None = None
    held: Held | None = None

    def all_headers(self) -> dict[str, str]:
        if self.resets_in is None:
            return dict(self.headers)
        return {
            **self.headers,
            "X-RateLimit-Limit": "600",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(time.time() + self.resets_in)),
        }


def accepted(*, tells_id: bool = True) -> Answer:
    """202. Some have come without X-Message-Id (sendgrid/docs issue 3855)."""
    return Answer(status=202, accepts=True, tells_id=tells_id)


def slow(seconds: float) -> Answer:
    """202, after a while."""
    return Answer(status=202, accepts=True, pause=seconds)


def refused(status: int, *faults: Fault) -> Answer:
    """SendGrid's errors; without any, the status in words."""
    listed = faults or (Fault(HTTPStatus(status).phrase, None),)
    errors = [
        {"message": message, "field": field, "help": _help(field) if status == 400 else None}
        for message, field in listed
    ]
    return json_answer(status, {"errors": errors})


def _help(field: str | None) -> str | None:
    return _HELP + re.sub(r"\.\d+", "", field) if field else None


def json_answer(status: int, body: object) -> Answer:
    return Answer(
        status=status,
        headers={"Content-Type": "application/json"},
        body=json.dumps(body, separators=(",", ":")).encode(),
    )


def html(status: int = 504) -> Answer:
    """The page of a server before SendGrid's own."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return Answer(status=status, headers={"Content-Type": "text/html"}, body=page.encode())


def rate_limited(reset_in_seconds: float) -> Answer:
    """429; the reset is counted from the answer on, in whole seconds since 1970."""
    answer = refused(429, Fault("too many requests", None))
    return Answer(status=429, headers=answer.headers, body=answer.body, resets_in=reset_in_seconds)


def server_error(status: int = 500) -> Answer:
    """Not taken, and says so."""
    return refused(status)


def hang_up() -> Answer:
    """Not taken, and the connection closed."""
    return Answer(status=None)


def accept_and_hang_up() -> Answer:
    """Taken, and the connection closed before any answer."""
    return Answer(status=None, accepts=True)


def accept_and_answer(status: int) -> Answer:
    """Taken, and something else said."""
    wrong = refused(status)
    return Answer(status=status, headers=wrong.headers, body=wrong.body, accepts=True)
