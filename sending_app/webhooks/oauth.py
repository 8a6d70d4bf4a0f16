"""The OAuth credentials for SendGrid's webhooks."""

import sys
from dataclasses import dataclass, field
from getpass import getpass
from typing import Any

from django.core.management.base import CommandError

from events_app.shared.setting import registered

_CLIENTS, _ISSUER = "WEBHOOK_OAUTH_CLIENTS", "WEBHOOK_OAUTH_ISSUER"


@dataclass(frozen=True)
class OAuth:
    client_id: str
    client_secret: str = field(repr=False)
    #: Where SendGrid gets a token.
    token_url: str
    #: Whether this server gives the tokens.
    is_ours: bool = True

    def of_event_webhook(self) -> dict[str, str]:
        return {
            "oauth_client_id": self.client_id,
            "oauth_client_secret": self.client_secret,
            "oauth_token_url": self.token_url,
        }

    def of_policy(self) -> dict[str, Any]:
        fields = {"client_id": self.client_id, "client_secret": self.client_secret}
        # A token of ours for mails opens no other webhook. Another server may not know this scope.
        scopes = {"scopes": ["inbound"]} if self.is_ours else {}
        return {**fields, "token_url": self.token_url, **scopes}


#: Sent in place of credentials, these turn OAuth off.
OFF = OAuth("", "", "")


def credentials(token_url: str, client_id: str | None) -> OAuth:
    """The client's id and secret: from the settings, or the secret of another server's client as typed.

    Without an id, the newest client of the settings. Raises CommandError.
    """
    pairs = [(pair.partition(":")[0], pair.partition(":")[2]) for pair in _setting(_CLIENTS)]
    if client_id is None:
        if not pairs:
            raise CommandError(
                f"{_CLIENTS} is not set here. Set it, or name the client of another server with --client-id."
            )
        return OAuth(*pairs[-1], token_url)
    secret = next((secret for known, secret in reversed(pairs) if known == client_id), None)
    return OAuth(client_id, secret or _asked(client_id), token_url, is_ours=secret is not None)


def is_accepted_here() -> bool:
    """Whether this server accepts tokens."""
    return bool(_setting(_CLIENTS) or _setting(_ISSUER))


def _setting(name: str) -> tuple[str, ...]:
    value = registered[name].get()
    return (value,) if isinstance(value, str) and value else tuple(value)


def _asked(client_id: str) -> str:
    # Not an option: other users of the machine see the options of a program.
    prompt = f"The secret of the OAuth client {client_id}: "
    secret = getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not secret:
        raise CommandError(f"The secret of the OAuth client {client_id} is needed, on standard input.")
    return secret
