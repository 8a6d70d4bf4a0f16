"""Tokens of another issuer: JWTs that its published keys verify, while it rotates, hangs and is away."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from devstack.process import wait_for
from events_app.views import bearer as bearer_module
from events_app.views import issuer_keys, own_tokens
from events_app.views.token_faults import IssuerAway, TokenRefused
from tests.support.events.tokens import (
    AUDIENCE,
    CLIENT,
    ISSUER,
    Issuer,
    SigningKey,
    bearer,
    issuer,
    own_token,
    unsigned,
)
from tests.support.events.webhook_requests import BODY
from tests.support.http_server import response

__all__ = ["issuer"]

TRACKING, INBOUND = "/anymail/sendgrid/tracking/", "/anymail/sendgrid/inbound/"

Anymail = Callable[..., None]


@pytest.fixture(autouse=True)
def issuer_is_set(anymail: Anymail, issuer: Issuer) -> Iterator[None]:
    anymail(
        WEBHOOK_SECRET=[],
        WEBHOOK_OAUTH_ISSUER=ISSUER,
        WEBHOOK_OAUTH_AUDIENCE=AUDIENCE,
        WEBHOOK_OAUTH_JWKS_URL=issuer.url,
    )
    yield
    issuer_keys._sets.clear()


def answer(token: str, path: str = TRACKING) -> Any:
    return Client().post(path, BODY, content_type="application/json", headers=bearer(token))


def post(token: str) -> int:
    status: int = answer(token).status_code
    return status


def let_time_pass(seconds: float) -> None:
    """Make the key set as old as if the seconds had passed."""
    for key_set in issuer_keys._sets.values():
        key_set._fetched -= seconds
        key_set._tried -= seconds


# Who is let in


def test_a_token_of_the_issuer_is_accepted_and_its_keys_are_fetched_once(issuer: Issuer) -> None:
    assert [post(issuer.key.sign()) for _ in range(3)] == [200, 200, 200]
    assert issuer.fetches == 1


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE, "https://elsewhere.example.com"]])
def test_one_of_the_audiences_is_enough(anymail: Anymail, issuer: Issuer, audience: object) -> None:
    anymail(WEBHOOK_OAUTH_AUDIENCE=["another", AUDIENCE])
    assert post(issuer.key.sign(aud=audience)) == 200


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1_700_000_000}, b"the token has expired"),
        ({"exp": None}, b"unusable"),
        ({"exp": "soon"}, b"unusable"),
        ({"iss": "https://other.example.com/"}, b"another issuer"),
        ({"iss": None}, b"unusable"),
        ({"iss": [ISSUER]}, b"token"),
        ({"aud": "another"}, b"another audience"),
        ({"aud": None}, b"unusable"),
        ({"aud": {"a": 1}}, b"token"),
        ({"nbf": 4_000_000_000}, b"unusable"),
        ({"iat": "now"}, b"unusable"),
    ],
)
def test_a_token_with_wrong_claims_is_refused(issuer: Issuer, claims: dict[str, Any], why: bytes) -> None:
    if "iss" in claims and isinstance(claims["iss"], list):
        token = jwt.encode({"iss": "x"}, "x" * 32)  # PyJWT makes no token with such an issuer
    else:
        token = issuer.key.sign(**claims)
    refused = answer(token)
    assert (refused.status_code, refused.content[:15]) == (401, b"invalid_token: ")
    assert why in refused.content
    assert refused["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_clocks_may_differ_by_a_minute(issuer: Issuer) -> None:
    now = int(time.time())
    assert post(issuer.key.sign(exp=now - 30, iat=now - 3600)) == 200
    assert post(issuer.key.sign(iat=now + 30, nbf=now + 30)) == 200
    assert post(issuer.key.sign(exp=now - 90)) == 401


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "a events:write b"}, 200),
        ({"scope": ["events:write"]}, 200),
        ({"scp": ["events:write"]}, 200),
        ({"roles": ["events:write"]}, 200),
        ({"scope": "events:read"}, 403),
        ({"scope": 7, "scp": {"events:write": 1}, "roles": [None]}, 403),
        ({}, 403),
    ],
)
def test_a_token_needs_the_scopes_of_the_settings(
    anymail: Anymail, issuer: Issuer, claims: dict[str, Any], status: int
) -> None:
    anymail(WEBHOOK_OAUTH_SCOPES=["events:write"])
    answered = answer(issuer.key.sign(**claims))
    assert answered.status_code == status
    assert status == 200 or answered.content.startswith(b"insufficient_scope: ")


def test_tokens_of_our_own_are_accepted_beside(anymail: Anymail, issuer: Issuer) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=CLIENT)
    assert post(own_tokens.issue(CLIENT, ["tracking"])) == 200
    assert own_token()
    assert issuer.fetches == 0
    assert post(issuer.key.sign()) == 200


# Signatures


def test_a_token_of_another_key_is_refused(issuer: Issuer) -> None:
    assert post(SigningKey("first").sign()) == 401
    assert post(SigningKey("unknown").sign()) == 401
    assert post(issuer.key.sign()[:-10] + "AAAAAAAAAA") == 401


def test_a_token_without_a_key_id_may_be_of_any_key(issuer: Issuer) -> None:
    old = issuer.rotate()
    for key in (old, issuer.key):
        assert post(SigningKey(None, key.private).sign()) == 200
    assert post(SigningKey(None).sign()) == 401


def test_a_public_key_is_no_secret_and_none_is_no_algorithm(issuer: Issuer) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60}
    public = issuer.key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("HS256", "HS512"):
        forged = jwt.encode(claims, public * 2, algorithm=algorithm, headers={"kid": "first"})
        assert answer(forged).content == b"invalid_token: the token's algorithm is not accepted\n"
    names: list[object] = ["none", "None", "", "HS256", ["RS256"], None, 7, {}]
    for name in names:
        assert post(unsigned({"alg": name, "kid": "first"}, claims)) == 401
    assert issuer.fetches == 0


@pytest.mark.parametrize(
    ("private", "algorithm", "to_jwk"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256", ECAlgorithm.to_jwk),
        (ec.generate_private_key(ec.SECP384R1()), "ES384", ECAlgorithm.to_jwk),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA", OKPAlgorithm.to_jwk),
    ],
)
def test_keys_of_other_kinds_verify(issuer: Issuer, private: Any, algorithm: str, to_jwk: Any) -> None:
    issuer.publish(json.loads(to_jwk(private.public_key())))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60}
    assert post(jwt.encode(claims, private, algorithm=algorithm)) == 200
    assert post(jwt.encode(claims, SigningKey("x").private, algorithm="RS256")) == 401


# The issuer's keys


def test_a_rotated_key_is_fetched(issuer: Issuer) -> None:
    assert post(issuer.key.sign()) == 200
    old = issuer.rotate()
    let_time_pass(issuer_keys.PAUSE)
    assert post(issuer.key.sign()) == 200
    assert post(old.sign()) == 200
    assert issuer.fetches == 2


def test_a_removed_key_is_forgotten(issuer: Issuer) -> None:
    assert post(issuer.key.sign()) == 200
    old = issuer.rotate()
    issuer.publish(issuer.key.jwk())
    assert post(old.sign()) == 200
    let_time_pass(issuer_keys.FRESH)
    assert post(old.sign()) == 401


def test_unknown_keys_cause_few_fetches(issuer: Issuer) -> None:
    assert post(issuer.key.sign()) == 200
    stranger = SigningKey("unknown").sign()
    assert [post(stranger) for _ in range(5)] == [401] * 5
    assert issuer.fetches == 1
    let_time_pass(issuer_keys.PAUSE)
    assert [post(stranger) for _ in range(5)] == [401] * 5
    assert issuer.fetches == 2


HOSTILE: dict[str, Callable[[Issuer], bytes]] = {
    "error": lambda issuer: response(500),
    "redirect": lambda issuer: response(302, b"", f"Location: {issuer.url}"),
    "not JSON": lambda issuer: response(200, b"<html>"),
    "no key": lambda issuer: response(200, b'{"keys": []}'),
    "no object": lambda issuer: response(200, b"[]"),
    "deep": lambda issuer: response(200, b'{"keys": [' + b"[" * 50_000),
    "large": lambda issuer: response(200, b'{"keys": [' + b" " * issuer_keys.LARGEST + b"]}"),
    "cut": lambda issuer: b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"keys": [',
    "broken chunk": lambda issuer: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "compressed": lambda issuer: response(200, b"\x1f\x8b\x08\x00", "Content-Encoding: gzip"),
    "no HTTP": lambda issuer: b"hello\r\n\r\n",
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.django_db(databases=["default", "postgres"])
def test_without_keys_sendgrid_is_to_post_again(
    issuer: Issuer, hostile: str, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.answer = HOSTILE[hostile](issuer)
    token = issuer.key.sign()
    refused = answer(token)
    assert (refused.status_code, b"not available" in refused.content) == (503, True)
    assert answer(token, INBOUND).status_code == 503
    assert "The key set of WEBHOOK_OAUTH_JWKS_URL cannot be used" in caplog.text
    assert issuer.fetches == 1  # no second attempt so soon
    issuer.publish(issuer.key.jwk())
    let_time_pass(issuer_keys.PAUSE)
    assert post(token) == 200


@pytest.mark.parametrize("away", [True, False], ids=["away", "hanging"])
def test_known_keys_are_used_while_the_issuer_does_not_answer(
    anymail: Anymail, issuer: Issuer, away: bool
) -> None:
    assert post(issuer.key.sign()) == 200
    if away:
        issuer.answer = b""
    issuer.hangs = not away
    let_time_pass(issuer_keys.FRESH)
    assert post(issuer.key.sign()) == 200
    # Only the issuer knows whether this key is a new one.
    assert post(SigningKey("unknown").sign()) == 503
    let_time_pass(issuer_keys.KEPT)
    assert post(issuer.key.sign()) == 503


def test_a_hanging_issuer_is_asked_by_one_post_at_a_time(issuer: Issuer) -> None:
    assert post(issuer.key.sign()) == 200
    issuer.hangs = True
    let_time_pass(issuer_keys.FRESH)
    statuses: list[int] = []
    asking = threading.Thread(target=lambda: statuses.append(post(issuer.key.sign())))
    asking.start()
    wait_for(lambda: issuer.fetches == 2, seconds=30, what="a fetch")
    assert post(issuer.key.sign()) == 200
    asking.join()
    assert statuses == [200]
    assert issuer.fetches == 2


def test_without_keys_too_one_post_at_a_time_asks_the_issuer(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.answer = response(500)
    assert post(issuer.key.sign()) == 503
    let_time_pass(issuer_keys.PAUSE)
    monkeypatch.setattr(issuer_keys, "DEADLINE", 600.0)
    (key_set,) = issuer_keys._sets.values()
    with key_set._lock:  # another post asks
        other = threading.Thread(target=pytest.raises, args=[IssuerAway, key_set.find, "first"], daemon=True)
        other.start()
        other.join(60)
        assert not other.is_alive()


def test_an_issuer_that_refuses_connections_gets_503(anymail: Anymail, issuer: Issuer) -> None:
    anymail(WEBHOOK_OAUTH_JWKS_URL="http://127.0.0.1:1/keys")
    assert post(issuer.key.sign()) == 503


def public_jwk(private: Any) -> dict[str, Any]:
    jwk: dict[str, Any] = SigningKey("x", private).jwk()
    return jwk


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "first"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "first"},
        {"kty": "RSA", "n": 7, "e": [], "kid": "first"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": [], "kid": "first"},
        {"kid": {}},
        public_jwk(rsa.generate_private_key(65537, 1024)),
        SigningKey("x").jwk(use="enc"),
        SigningKey("x").jwk(alg="HS256"),
        SigningKey("x").jwk(alg="none"),
        SigningKey("x").jwk(alg={}),
        SigningKey("x").jwk(kid=7),
        SigningKey("x").jwk(d="AQAB"),
    ],
)
def test_an_unusable_key_is_left_out(issuer: Issuer, jwk: dict[str, Any]) -> None:
    assert list(issuer_keys.public_keys([jwk])) == []
    assert len(list(issuer_keys.public_keys([jwk, issuer.key.jwk()]))) == 1


def test_only_some_keys_of_a_large_set_are_used(issuer: Issuer) -> None:
    many = [issuer.key.jwk(kid=str(number)) for number in range(100)]
    assert len(list(issuer_keys.public_keys(many))) == issuer_keys.MOST_KEYS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_jwk_names = st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "d", "crv", "x", "y", "k"])
_jwk_values = json_values | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "RS256", "AQAB"])


@given(st.lists(st.dictionaries(_jwk_names, _jwk_values), max_size=5))
def test_no_garbage_is_a_key(candidates: list[dict[str, Any]]) -> None:
    for key in issuer_keys.public_keys(candidates):
        assert set(key.algorithms) <= issuer_keys.ALGORITHMS


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku"]), json_values),
    json_values,
    st.sampled_from(["RS256", "ES256", "EdDSA"]) | json_values,
)
def test_a_garbage_token_is_refused(header: dict[str, Any], claims: object, algorithm: object) -> None:
    with pytest.raises((TokenRefused, IssuerAway)):
        bearer_module.check_token(
            f"Bearer {unsigned({**header, 'alg': algorithm}, claims)}AAAA", [], "tracking", 1
        )


@pytest.mark.parametrize(
    "token", ["a", "a.b", "a.b.c", "....", "x" * 100_000, "ü.ü.ü", "e30.e30.e30", "bnVsbA.e30."]
)
def test_a_malformed_token_is_refused(token: str) -> None:
    refused = answer(token)
    assert (refused.status_code, refused.content[:15]) == (401, b"invalid_token: ")


# Settings


@pytest.mark.parametrize("name", ["WEBHOOK_OAUTH_AUDIENCE", "WEBHOOK_OAUTH_JWKS_URL"])
def test_an_incomplete_issuer_gets_503(
    anymail: Anymail, issuer: Issuer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    anymail(**{name: ""})
    assert post(issuer.key.sign()) == 503
    assert f"WEBHOOK_OAUTH_ISSUER needs {name}" in caplog.text


def test_without_pyjwt_the_answer_is_503_and_the_log_names_the_extra(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    assert post("a.b.c") == 503
    assert "install django-sendgrid-pipeline[oauth]" in caplog.text
