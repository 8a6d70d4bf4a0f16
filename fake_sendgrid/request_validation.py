"""What SendGrid asks of a request to v3 mail/send, and what it says where that is missing.

Facts from "Mail Send API Overview", "Mail Send Errors" and "API Errors"; the messages are in SendGrid's
manner, not all of them word for word.
"""

import json
import time
from collections.abc import Container, Mapping
from typing import Any, NoReturn

from fake_sendgrid.responses import ApiResponse, error, html_page
from fake_sendgrid.rules import content, options, recipients
from fake_sendgrid.rules.fault import BAD_REQUEST, Fault

#: A body must be smaller. SendGrid says 30 MB and not which: the smaller of the two.
BODY_LIMIT = 30_000_000

_UNAUTHORIZED = Fault("The provided authorization grant is invalid, expired, or revoked", None)
_ACCEPTABLE = {"", "*/*", "application/*", "application/json"}


class RequestRejected(Exception):
    """A request that is not taken, and its answer."""

    def __init__(self, answer: ApiResponse) -> None:
        super().__init__(f"{answer.status}: {answer.body.decode()}")
        self.answer = answer


def read_mail(
    body: bytes, headers: Mapping[str, str], *, keys: Container[str] | None, now: float | None = None
) -> dict[str, Any]:
    """The mail in a request; raises Refusal. `keys` of None lets any key in."""
    if len(body) >= BODY_LIMIT:
        raise RequestRejected(html_page(413))  # from the nginx before the API, not from the API
    check_api_key(headers, keys)
    _check_types(headers)
    mail = _parse(body)
    found = faults(mail, time.time() if now is None else now)
    if found:
        raise RequestRejected(error(400, *found))
    return mail


def faults(mail: Mapping[str, Any], now: float) -> list[Fault]:
    """All that is wrong with a mail; alone the bare one where it is among them."""
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
