"""Calls of SendGrid's API other than Mail Send, and questions about an account, which change nothing."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import requests
import urllib3

from sending_app.account import Account
from sending_app.api import sessions
from sending_app.api.request import HEADERS, Bearer, cause, is_sendable
from sending_app.api.response import Answer, without_control_characters

#: Seconds to connect, and for the answer. A person waits for it.
TIMEOUT = (5.0, 10.0)

#: Bytes of an answer. A longer one is not read.
MOST_BYTES = 4 * 1024 * 1024


class Unanswered(Exception):
    """No usable answer came. The text says why, without the key."""

    def __init__(self, why: str, *, is_unsent: bool = False) -> None:
        super().__init__(why)
        #: Whether SendGrid surely did not get the call.
        self.is_unsent = is_unsent


class Reply(NamedTuple):
    """An answer of SendGrid."""

    status: int
    #: The JSON of a 200; None for another status.
    content: Any


def ask(account: Account, path: str, **query: str) -> Reply:
    """Ask for the JSON at a path below the account's URL. Raises Unanswered."""
    if not is_sendable(account.api_key):
        raise Unanswered("the API key has characters that no key has: a line break?")
    answer = exchange(replace(account, timeout=TIMEOUT), "GET", path, query=query)
    if answer.status != 200:
        return Reply(answer.status, None)
    try:
        return Reply(200, json.loads(answer.content))
    except (ValueError, RecursionError):
        raise Unanswered(f"the answer to {path} is not JSON. Is the URL of the API right?") from None


def exchange(
    account: Account,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Answer:
    """Make a call at a path below the account's URL. The key must be sendable. Raises Unanswered."""
    callers = sys.exception()
    try:
        with sessions.session(account.api_url) as session:
            response = session.request(
                method,
                f"{account.api_url}{path}",
                params=query,
                data=None if body is None else json.dumps(body),
                headers=HEADERS,
                auth=Bearer(account.api_key),
                timeout=account.timeout,
                allow_redirects=False,
                stream=True,
            )
            with response:
                content = response.raw.read(MOST_BYTES + 1, decode_content=True)
    except (OSError, urllib3.exceptions.HTTPError) as fault:
        is_unsent = isinstance(fault, requests.ConnectTimeout | requests.exceptions.SSLError)
        why = without_control_characters(cause(fault, callers))
        raise Unanswered(why, is_unsent=is_unsent) from None
    return Answer(response.status_code, response.reason or "", response.headers, content)
