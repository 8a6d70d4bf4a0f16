"""Requests to the Mail Send API of fake_sendgrid."""

import json
from typing import Any

import requests

HEADERS = {
    "Authorization": "Bearer SG.fake",
    "Content-Type": "application/json",
    "Accept": "application/json",
}


def mail_body(*to: str, **root: Any) -> dict[str, Any]:
    """One personalization for each of `to`; `...` leaves a key of the root out."""
    whole = {
        "personalizations": [{"to": [{"email": email}]} for email in to or ["ada@example.com"]],
        "from": {"email": "shop@example.org", "name": "The shop"},
        "subject": "Your order",
        "content": [{"type": "text/plain", "value": "It is on its way."}],
        **root,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def mail_body_with(**personalization: Any) -> dict[str, Any]:
    """A mail of one personalization."""
    return mail_body(personalizations=[{"to": [{"email": "ada@example.com"}], **personalization}])


def post_mail(
    url: str, body: dict[str, Any] | None = None, timeout: float = 10, **headers: str
) -> requests.Response:
    """Post a mail, on a connection of its own."""
    data = json.dumps(mail_body() if body is None else body)
    return requests.post(f"{url}mail/send", data, headers={**HEADERS, **headers}, timeout=timeout)
