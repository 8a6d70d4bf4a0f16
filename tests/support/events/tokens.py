"""OAuth in tests: a client, its tokens, and another issuer with its keys on a server."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from django.core import signing
from jwt.algorithms import RSAAlgorithm

from events_app.views import own_tokens
from tests.support.http_server import ClientConnection, HttpServer, Request, response

#: An entry of WEBHOOK_OAUTH_CLIENTS.
CLIENT = "sendgrid:an-oauth-secret-for-tests-only"

ISSUER, AUDIENCE = "https://issuer.example.com/", "https://mail.example.com/webhooks"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def own_token(client: str = CLIENT, *scopes: str) -> dict[str, str]:
    """The header with a token of our own, by default for both webhooks."""
    return bearer(own_tokens.issue(client, scopes or own_tokens.SCOPES))


class SigningKey:
    """A key of an issuer."""

    def __init__(self, key_id: str | None, private: RSAPrivateKey | None = None) -> None:
        self.id = key_id
        self.private = private or generate_private_key(65537, 2048)

    def jwk(self, **changed: Any) -> dict[str, Any]:
        """The public key in a key set."""
        public: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
        return {**public, **({"kid": self.id} if self.id else {}), "use": "sig", "alg": "RS256", **changed}

    def sign(self, **claims: Any) -> str:
        """A token. A claim of None is left out."""
        now = int(time.time())
        whole = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 3600, "iat": now, "sub": "sendgrid", **claims}
        kept = {name: claim for name, claim in whole.items() if claim is not None}
        headers = {"kid": self.id} if self.id else None
        return jwt.encode(kept, self.private, algorithm="RS256", headers=headers)


class Issuer:
    """A server that answers with a key set."""

    def __init__(self) -> None:
        self.key = SigningKey("first")
        self.answer = b""
        #: Whether the server takes requests and answers nothing.
        self.hangs = False
        self.publish(self.key.jwk())
        self.server = HttpServer(self._behave)

    @property
    def url(self) -> str:
        return f"http://{self.server.address}/keys"

    @property
    def fetches(self) -> int:
        return len(self.server.requests)

    def publish(self, *keys: object) -> None:
        self.answer = response(200, json.dumps({"keys": keys}).encode())

    def rotate(self, key_id: str = "second") -> SigningKey:
        """Sign with a new key from now on, and publish both."""
        old, self.key = self.key, SigningKey(key_id)
        self.publish(old.jwk(), self.key.jwk())
        return old

    def _behave(self, peer: ClientConnection, requests: list[Request]) -> None:
        while found := peer.head():
            requests.append(found)
            if self.hangs:
                peer.hang()
                return
            peer.say(self.answer)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that runs. No setting names it."""
    issuer = Issuer()
    with issuer.server:
        yield issuer


def unsigned(header: dict[str, Any], claims: object) -> str:
    """A token without a signature."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    return b".".join([*parts, b""]).decode()


@pytest.fixture
def hours_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for the age of tokens alone."""
    begin = time.time()

    class Clock:
        now = begin

        def time(self) -> float:
            return self.now

    clock = Clock()

    def pass_time(hours: float) -> None:
        clock.now = begin + hours * 3600
        monkeypatch.setattr(signing, "time", clock)

    return pass_time
