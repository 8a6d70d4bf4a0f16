"""Ready-made API responses to a valid mail: success, errors, delays, and closed connections."""

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
    """A request that waits for `release`."""

    def __init__(self, *, after_accepting: bool = False) -> None:
        self.after_accepting = after_accepting
        #: Set when the request has arrived; with `after_accepting`, when its mail has been accepted.
        self.arrived = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def wait(self) -> None:
        self.arrived.set()
        self._released.wait()


@dataclass(frozen=True, kw_only=True)
class ApiResponse:
    #: None closes the connection without a response.
    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Whether the mail is accepted and gets events. The status does not have to say so.
    accepts: bool = False
    #: Whether a 202 has an X-Message-Id.
    with_message_id: bool = True
    #: Seconds before the request is handled.
    pause: float = 0.0
    #: For the rate-limit headers: seconds between the response and the reset.
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
    """202. SendGrid has sent some without X-Message-Id (sendgrid/docs issue 3855)."""
    return ApiResponse(status=202, accepts=True, with_message_id=with_message_id)


def slow(seconds: float) -> ApiResponse:
    """202 after `seconds`."""
    return ApiResponse(status=202, accepts=True, pause=seconds)


def error(status: int, *faults: Fault) -> ApiResponse:
    """SendGrid's error body with these faults, or with the phrase of the status."""
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
    """An HTML error page, as a proxy in front of SendGrid's API returns it."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return ApiResponse(status=status, headers={"Content-Type": "text/html"}, body=page.encode())


def rate_limited(reset_in_seconds: float) -> ApiResponse:
    """429. X-RateLimit-Reset is a Unix time, counted from the response."""
    response = error(429, Fault("too many requests", None))
    return ApiResponse(status=429, headers=response.headers, body=response.body, resets_in=reset_in_seconds)


def server_error(status: int = 500) -> ApiResponse:
    """A 5xx; the mail is not accepted."""
    return error(status)


def close_connection() -> ApiResponse:
    """Close the connection; the mail is not accepted."""
    return ApiResponse(status=None)


def accept_and_close_connection() -> ApiResponse:
    """Accept the mail and close the connection without a response."""
    return ApiResponse(status=None, accepts=True)


def accept_and_respond(status: int) -> ApiResponse:
    """Accept the mail and respond with an error."""
    response = error(status)
    return ApiResponse(status=status, headers=response.headers, body=response.body, accepts=True)
