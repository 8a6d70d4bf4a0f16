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


class HeldRequest:
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
class ApiResponse:
    #: None: the connection is closed without a word.
    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The mail is taken and its events follow, whatever is said of it.
    accepts: bool = False
    #: Whether X-Message-Id goes along with a 202.
    with_message_id: bool = True
    #: Seconds before anything is done.
    pause: float = 0.0
    #: For the rate-limit headers: seconds from the answer on.
    resets_in: float | None = None
    held: HeldRequest | None = None

    def all_headers(self) -> dict[str, str]:
        if self.resets_in is None:
            return dict(self.headers)
        return {
            **self.headers,
            "X-RateLimit-Limit": "600",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(time.time() + self.resets_in)),
        }


def accepted(*, with_message_id: bool = True) -> ApiResponse:
    """202. Some have come without X-Message-Id (sendgrid/docs issue 3855)."""
    return ApiResponse(status=202, accepts=True, with_message_id=with_message_id)


def slow(seconds: float) -> ApiResponse:
    """202, after a while."""
    return ApiResponse(status=202, accepts=True, pause=seconds)


def error(status: int, *faults: Fault) -> ApiResponse:
    """SendGrid's errors; without any, the status in words."""
    listed = faults or (Fault(HTTPStatus(status).phrase, None),)
    errors = [
        {"message": message, "field": field, "help": _help(field) if status == 400 else None}
        for message, field in listed
    ]
    return json_response(status, {"errors": errors})


def _help(field: str | None) -> str | None:
    return _HELP + re.sub(r"\.\d+", "", field) if field else None


def json_response(status: int, body: object) -> ApiResponse:
    return ApiResponse(
        status=status,
        headers={"Content-Type": "application/json"},
        body=json.dumps(body, separators=(",", ":")).encode(),
    )


def html_page(status: int = 504) -> ApiResponse:
    """The page of a server before SendGrid's own."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return ApiResponse(status=status, headers={"Content-Type": "text/html"}, body=page.encode())


def rate_limited(reset_in_seconds: float) -> ApiResponse:
    """429; the reset is counted from the answer on, in whole seconds since 1970."""
    answer = error(429, Fault("too many requests", None))
    return ApiResponse(status=429, headers=answer.headers, body=answer.body, resets_in=reset_in_seconds)


def server_error(status: int = 500) -> ApiResponse:
    """Not taken, and says so."""
    return error(status)


def close_connection() -> ApiResponse:
    """Not taken, and the connection closed."""
    return ApiResponse(status=None)


def accept_and_close_connection() -> ApiResponse:
    """Taken, and the connection closed before any answer."""
    return ApiResponse(status=None, accepts=True)


def accept_and_respond(status: int) -> ApiResponse:
    """Taken, and something else said."""
    wrong = error(status)
    return ApiResponse(status=status, headers=wrong.headers, body=wrong.body, accepts=True)
