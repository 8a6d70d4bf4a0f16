"""SendGrid's rules for a v3 mail/send request, and its error responses.

Sources: "Mail Send API Overview", "Mail Send Errors" and "API Errors". The messages imitate SendGrid's; not
every message is word for word the same.
"""

import json
import time
from collections.abc import Container, Mapping
from typing import Any, NoReturn

from fake_sendgrid.responses import ApiResponse, error, html_page
from fake_sendgrid.rules import content, options, recipients
from fake_sendgrid.rules.fault import BAD_REQUEST, Fault

#: A body must be smaller. SendGrid says "30MB"; this is the smaller of its two readings (MB, MiB).
BODY_LIMIT = 30_000_000

_UNAUTHORIZED = Fault("The provided authorization grant is invalid, expired, or revoked", None)
_ACCEPTABLE = {"", "*/*", "application/*", "application/json"}


class RequestRejected(Exception):
    """A rejected request, with its response."""

    def __init__(self, response: ApiResponse) -> None:
        super().__init__(f"{response.status}: {response.body.decode()}")
        self.response = response


def read_mail(
    body: bytes, headers: Mapping[str, str], *, keys: Container[str] | None, now: float | None = None
) -> dict[str, Any]:
    """Return the mail in a request, or raise RequestRejected. `keys` of None accepts any key."""
    if len(body) >= BODY_LIMIT:
        raise RequestRejected(html_page(413))  # nginx in front of the API responds, not the API
    check_api_key(headers, keys)
    _check_types(headers)
    mail = _parse(body)
    found = faults(mail, time.time() if now is None else now)
    if found:
        raise RequestRejected(error(400, *found))
    return mail


def faults(mail: Mapping[str, Any], now: float) -> list[Fault]:
    """Return every fault of a mail. BAD_REQUEST hides the others, as at SendGrid."""
    found = [*recipients.faults(mail, now), *options.faults(mail, now), *content.faults(mail)]
    return [BAD_REQUEST] if BAD_REQUEST in found else found


def is_sandboxed(mail: Mapping[str, Any]) -> bool:
    return options.is_on(mail.get("mail_settings", {}), "sandbox_mode")


def api_key_of(headers: Mapping[str, str]) -> str | None:
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def check_api_key(headers: Mapping[str, str], keys: Container[str] | None) -> None:
    key = api_key_of(headers)
    if key is None or (keys is not None and key not in keys):
        raise RequestRejected(error(401, _UNAUTHORIZED))


def _check_types(headers: Mapping[str, str]) -> None:
    if _media_type(headers.get("Content-Type", "")) != "application/json":
        raise RequestRejected(error(415, Fault("Content-Type should be application/json.", None)))
    wanted = {_media_type(one) for one in headers.get("Accept", "").split(",")}
    if not wanted & _ACCEPTABLE:
        raise RequestRejected(error(406))


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        mail = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RequestRejected(error(400, BAD_REQUEST)) from None
    if not isinstance(mail, dict):
        raise RequestRejected(error(400, Fault("Invalid type. Expected: object.", "(root)")))
    return mail


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
