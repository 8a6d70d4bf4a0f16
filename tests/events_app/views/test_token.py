"""The token view gives a client a token, and nobody else."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from django.db import connections
from django.test import Client, RequestFactory
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from events_app.shared.log.floods import MOST
from events_app.views import SendGridTokenView, own_tokens
from events_app.views.token import LARGEST
from tests.support.brokers import UNREACHABLE
from tests.support.events.tokens import CLIENT
from tests.support.events.webhook_requests import basic_auth

URL = "/anymail/sendgrid/token/"
ID, SECRET = CLIENT.split(":")
GRANT = {"grant_type": "client_credentials"}
IN_BODY = {"client_id": ID, "client_secret": SECRET}

Anymail = Callable[..., None]


@pytest.fixture(autouse=True)
def client_is_set(anymail: Anymail) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=CLIENT)


def ask(
    parameters: Mapping[str, str] | bytes = GRANT, headers: dict[str, str] | None = None, url: str = URL
) -> Any:
    body = parameters if isinstance(parameters, bytes) else urlencode(parameters).encode()
    return Client(enforce_csrf_checks=True).generic(
        "POST", url, body, "application/x-www-form-urlencoded", headers=headers or {}
    )


def error(answer: Any) -> tuple[int, str]:
    assert answer["Cache-Control"] == "no-store"
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
@pytest.mark.parametrize(
    ("parameters", "headers"),
    [(GRANT | IN_BODY, {}), (GRANT, basic_auth(CLIENT)), (GRANT | {"client_id": ID}, basic_auth(CLIENT))],
    ids=["body", "header", "header and id"],
)
def test_a_client_gets_a_token(parameters: dict[str, str], headers: dict[str, str], url: str) -> None:
    answer = ask(parameters, headers, url)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert (answer["Cache-Control"], answer["Pragma"]) == ("no-store", "no-cache")
    token = answer.json()
    assert token.pop("access_token")
    assert token == {"token_type": "Bearer", "expires_in": 3600, "scope": "inbound tracking"}


def test_the_token_view_needs_no_server_and_no_login(
    anymail: Anymail, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    assert ask(GRANT | IN_BODY).status_code == 200
    assert reverse("events_app:sendgrid_token") == URL


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("tracking", "tracking"),
        ("inbound webhooks:write", "inbound"),
        ("webhooks:read webhooks:write", "inbound tracking"),
        ("tracking inbound", "inbound tracking"),
        ("", "inbound tracking"),
    ],
)
def test_a_token_has_the_scopes_that_the_client_asks_for(asked: str, given: str) -> None:
    token = ask(GRANT | IN_BODY | {"scope": asked}).json()
    assert token["scope"] == given
    read = own_tokens.read_token(token["access_token"], [CLIENT], None)
    assert read == own_tokens.OwnToken(frozenset(given.split()), expired=False)


def test_each_of_several_clients_gets_its_own_token(anymail: Anymail) -> None:
    other = "sendgrid:the-next-secret-of-this-client"
    anymail(WEBHOOK_OAUTH_CLIENTS=[CLIENT, other])
    for client, wrong in ((CLIENT, other), (other, CLIENT)):
        token = ask(headers=basic_auth(client)).json()["access_token"]
        assert own_tokens.read_token(token, [client], None)
        assert not own_tokens.read_token(token, [wrong], None)


@pytest.mark.parametrize("secret", ["a+b c%2F", "ünï-çødé", "with:colons::"])
def test_basic_auth_may_be_form_encoded_or_plain(anymail: Anymail, secret: str) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=f"send grid:{secret}")
    assert ask(headers=basic_auth(f"send grid:{secret}")).status_code == 200
    assert ask(headers=basic_auth(f"{quote_plus('send grid')}:{quote_plus(secret)}")).status_code == 200
    assert ask(GRANT | {"client_id": "send grid", "client_secret": secret}).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "headers"),
    [
        (GRANT, {}),
        (GRANT | {"client_id": ID}, {}),
        (GRANT | {"client_id": ID, "client_secret": "wrong"}, {}),
        (GRANT | {"client_id": CLIENT, "client_secret": ""}, {}),
        (GRANT, basic_auth(f"{ID}:wrong")),
        (GRANT, basic_auth(":")),
        (GRANT | IN_BODY, basic_auth(f"{ID}:wrong")),
        (GRANT | IN_BODY, {"Authorization": "Bearer x"}),
        (GRANT, {"Authorization": "Basic ***"}),
        (GRANT, {"Authorization": "Basic"}),
        (GRANT, {"Authorization": "Basic /w=="}),
    ],
)
def test_a_wrong_client_gets_401(parameters: dict[str, str], headers: dict[str, str]) -> None:
    answer = ask(parameters, headers)
    assert error(answer) == (401, "invalid_client")
    assert answer["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (urlencode(IN_BODY).encode(), "invalid_request"),
        (urlencode(IN_BODY | {"grant_type": ""}).encode(), "invalid_request"),
        (urlencode(IN_BODY | {"grant_type": "password"}).encode(), "unsupported_grant_type"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        (b"grant_type=\xff", "invalid_request"),
        (b"grant_type=%ff", "invalid_request"),
        (b"a=" + b"x" * LARGEST, "invalid_request"),
        (b"&".join(b"a%d=" % number for number in range(30)), "invalid_request"),
    ],
)
def test_a_wrong_request_gets_400(body: bytes, expected: str) -> None:
    assert error(ask(body)) == (400, expected)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_other_methods_are_not_allowed(method: str) -> None:
    assert Client().generic(method, URL).status_code == 405


@pytest.mark.parametrize("clients", [[], "", None])
def test_without_clients_the_view_says_so(anymail: Anymail, clients: object) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=clients)
    answer = ask(GRANT | IN_BODY)
    assert (answer.status_code, b"WEBHOOK_OAUTH_CLIENTS is not set" in answer.content) == (404, True)


@pytest.mark.parametrize("client", [":", "sendgrid:", ":secret", "sendgrid", "sendgrid:secret\n", 7])
def test_a_malformed_client_gets_no_token(anymail: Anymail, client: Any) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=client)
    client_id, _, secret = str(client).partition(":")
    asked = ask(GRANT | {"client_id": client_id, "client_secret": secret})
    assert (asked.status_code, asked.content) == (503, b"a setting here is unusable\n")
    if isinstance(client, str):
        anymail(WEBHOOK_OAUTH_CLIENTS=[client, CLIENT])
        assert ask(GRANT | {"client_id": client_id, "client_secret": secret}).status_code == 401
        assert ask(GRANT | IN_BODY).status_code == 200


def test_neither_secrets_nor_tokens_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = ask(GRANT | IN_BODY).json()["access_token"]
    assert ask(GRANT | {"client_id": ID, "client_secret": "a-wrong-secret"}).status_code == 401
    assert ask(headers=basic_auth("someone:a-wrong-secret")).status_code == 401
    assert "invalid_client" in caplog.text
    for text in (token, SECRET, "wrong-secret", basic_auth(CLIENT)["Authorization"]):
        assert text not in caplog.text


def test_a_flood_of_strangers_does_not_hide_another_reason(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2 * MOST):
        assert ask().status_code == 401
    assert ask(IN_BODY).status_code == 400
    assert "invalid_request: grant_type is missing" in caplog.text


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(), st.text()).map(lambda body: urlencode(body).encode()),
    st.none() | st.binary(max_size=60).map(lambda pair: f"Basic {base64.b64encode(pair).decode()}"),
)
def test_garbage_gets_an_error_and_no_token(body: bytes, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else None
    request = RequestFactory().generic("POST", URL, body, headers=headers)
    answer: Any = SendGridTokenView.as_view()(request)
    assert answer.status_code in (400, 401)
    assert json.loads(answer.content).keys() == {"error", "error_description"}
