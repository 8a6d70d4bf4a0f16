"""SendGrid as a client of OAuth 2.0: gets an access token by client credentials, and keeps the token.

Twilio docs, "Getting Started with the Event Webhook Security Features". SendGrid documents neither where it
puts the client's secret, nor whether it heeds `expires_in`. Here it does, as RFC 6749, 5.1, says.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote_plus

import requests
from requests.auth import HTTPBasicAuth

#: After an answer with one of these statuses and codes, SendGrid gets a new token and posts again.
_STATUSES = (400, 401, 403)
_CODES = ("invalid_request", "invalid_token", "insufficient_scope")

_NAMES = ("client_id", "client_secret", "token_url")


@dataclass(frozen=True)
class OAuthClient:
    """The OAuth part of a webhook's settings."""

    id: str
    secret: str = field(repr=False)
    token_url: str
    scopes: tuple[str, ...] = ()
    #: Whether the token request has the secret in a header of basic auth, encoded as in a form (RFC 6749,
    #: 2.3.1), and not in the body.
    in_header: bool = True

    @classmethod
    def of_event_webhook(cls, settings: Mapping[str, Any]) -> Self | None:
        """None if a setting is missing or empty."""
        return cls._whole(*(settings.get(f"oauth_{name}") for name in _NAMES))

    @classmethod
    def of_policy(cls, oauth: Mapping[str, Any]) -> Self | None:
        """As `of_event_webhook`."""
        return cls._whole(*(oauth.get(name) for name in _NAMES), scopes=tuple(oauth.get("scopes", ())))

    @classmethod
    def _whole(cls, *texts: object, scopes: tuple[str, ...] = ()) -> Self | None:
        if not all(texts):
            return None
        client_id, secret, token_url = map(str, texts)
        return cls(client_id, secret, token_url, scopes)


class NoToken(requests.RequestException):
    """The token URL gave no token."""


class AccessTokens:
    """The token of one client, and how often it was fetched."""

    def __init__(self, client: OAuthClient) -> None:
        self.client = client
        self.fetches = 0
        self._lock = threading.Lock()
        self._token = ""
        self._ends = 0.0

    def get(self, session: requests.Session) -> str:
        """Raises requests.RequestException."""
        with self._lock:
            if not self._token or time.monotonic() >= self._ends:
                self._fetch(session)
            return self._token

    def forget(self, token: str) -> None:
        """Get a new token next time, in place of this one."""
        with self._lock:
            if token == self._token:
                self._token = ""

    def _fetch(self, session: requests.Session) -> None:
        client = self.client
        form = {"grant_type": "client_credentials", "scope": " ".join(client.scopes)}
        if not client.in_header:
            form |= {"client_id": client.id, "client_secret": client.secret}
        answer = session.post(
            client.token_url,
            data={name: text for name, text in form.items() if text},
            auth=HTTPBasicAuth(quote_plus(client.id), quote_plus(client.secret))
            if client.in_header
            else None,
            timeout=10,
            allow_redirects=False,
        )
        self.fetches += 1
        try:
            token = answer.json()
            self._token, seconds = str(token["access_token"]), float(token.get("expires_in", 3600))
        except (ValueError, LookupError, TypeError):
            raise NoToken(f"{client.token_url} answered {answer.status_code} without a token") from None
        self._ends = time.monotonic() + seconds


def asks_for_new_token(response: requests.Response) -> bool:
    return response.status_code in _STATUSES and any(code in response.text for code in _CODES)
