"""The rules for webhook settings, and the error answers of their API.

Source: the published specification of the Webhooks API (twilio/sendgrid-oai, tsg_webhooks_v3). It has the
statuses and the fields of an error; most messages imitate SendGrid's.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fake_sendgrid.responses import ApiResponse, json_response


class Refused(Exception):
    """A request that SendGrid refuses, with its answer."""

    def __init__(self, status: int, message: str, **fields: object) -> None:
        super().__init__(message)
        self.response: ApiResponse = json_response(
            status, {"errors": [{"message": message, "field": None, **fields}]}
        )


def check_url(body: Mapping[str, Any]) -> str:
    """The URL in the body. Raises Refused."""
    url = body.get("url")
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(400, "not a valid url", field="url")
    return str(url)


def check_types(body: Mapping[str, Any], expected: type, *names: str) -> None:
    """Raises Refused if a field has another type. A field may be missing."""
    for name in names:
        if name in body and not isinstance(body[name], expected):
            raise Refused(400, f"{name} has a wrong type", field=name)


def not_found() -> Refused:
    return Refused(404, "invalid id provided", field="id")
