"""Posts with tokens of our own: who is let in, and which refusals make SendGrid get a new token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from events_app.shared import counters
from events_app.views import own_tokens
from events_app.views.bearer import check_token
from events_app.views.token_faults import TokenRefused
from fake_sendgrid import inbound_form
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.events.tokens import CLIENT, bearer, hours_later, own_token
from tests.support.events.webhook_requests import BODY, SECRET, SENDER, basic_auth
from tests.support.inbound.storages import use_folder

__all__ = ["hours_later"]

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

TRACKING, INBOUND = "/anymail/sendgrid/tracking/", "/anymail/sendgrid/inbound/"
both_webhooks = pytest.mark.parametrize("path", [TRACKING, INBOUND], ids=["tracking", "inbound"])

KEYS = ("SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY")

FORM = inbound_form.raw_form(b"Subject: A question\n\nWhere is it?\n")

Anymail = Callable[..., None]


@pytest.fixture(autouse=True)
def client_is_set(anymail: Anymail, settings: Settings, tmp_path: Path) -> None:
    use_folder(settings, tmp_path)
    anymail(WEBHOOK_SECRET=[], WEBHOOK_OAUTH_CLIENTS=CLIENT)


def answer(headers: dict[str, str], path: str = TRACKING) -> Any:
    body, content_type = content(path)
    return Client(enforce_csrf_checks=True).generic("POST", path, body, content_type, headers=headers)


def content(path: str) -> tuple[bytes, str]:
    return (BODY, "application/json") if path == TRACKING else (FORM.body(), FORM.content_type)


def post(headers: dict[str, str], path: str = TRACKING) -> int:
    status: int = answer(headers, path).status_code
    return status


def signature(path: str, sender: WebhookSender = SENDER) -> dict[str, str]:
    body, content_type = content(path)
    return sender.headers(body, content_type=content_type)


# Who is let in


@both_webhooks
def test_a_post_with_a_token_is_taken(path: str) -> None:
    assert post(own_token(), path) == 200
    assert post({"Authorization": own_token()["Authorization"].replace("Bearer", "bearer")}, path) == 200


@both_webhooks
def test_the_token_of_a_removed_client_is_refused(anymail: Anymail, path: str) -> None:
    token = own_token()
    other = "sendgrid:the-next-secret-of-this-client"
    anymail(WEBHOOK_OAUTH_CLIENTS=[other, CLIENT])
    assert (post(token, path), post(own_token(other), path)) == (200, 200)
    anymail(WEBHOOK_OAUTH_CLIENTS=other)
    assert (post(token, path), post(own_token(other), path)) == (401 if path == TRACKING else 503, 200)


@both_webhooks
def test_a_token_survives_the_rotation_of_the_secret_key(settings: Settings, path: str) -> None:
    token = own_token()
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another-secret-key"
    assert post(token, path) != 200
    settings.SECRET_KEY_FALLBACKS = [old]
    assert post(token, path) == 200


@both_webhooks
def test_a_token_opens_only_the_webhooks_of_its_scope(path: str) -> None:
    name, other = ("tracking", "inbound") if path == TRACKING else ("inbound", "tracking")
    assert post(own_token(CLIENT, name), path) == 200
    refused = answer(own_token(CLIENT, other), path)
    assert refused.status_code == (403 if path == TRACKING else 503)
    assert b"insufficient_scope: the token is not for" in refused.content


@both_webhooks
def test_a_signature_is_needed_in_addition(anymail: Anymail, path: str) -> None:
    anymail(**dict.fromkeys(KEYS, SENDER.public_key))
    refusal = 403 if path == TRACKING else 503
    assert post(own_token() | signature(path), path) == 200
    assert post(own_token(), path) == refusal
    assert post(own_token() | signature(path, WebhookSender()), path) == refusal
    assert post(signature(path), path) == (401 if path == TRACKING else 503)


@both_webhooks
def test_beside_a_password_either_opens(anymail: Anymail, path: str) -> None:
    anymail(WEBHOOK_SECRET="sendgrid:a-secret-for-tests-only")
    assert (post(SECRET, path), post(own_token(), path)) == (200, 200)
    refusal = 401 if path == TRACKING else 503
    assert post(basic_auth("sendgrid:wrong"), path) == refusal
    assert post(bearer("wrong"), path) == refusal


@both_webhooks
def test_the_clients_secret_itself_opens_nothing(path: str) -> None:
    assert post(basic_auth(CLIENT), path) != 200
    assert post(bearer(CLIENT.partition(":")[2]), path) != 200


def test_webhook_allow_insecure_does_not_override_a_client(anymail: Anymail) -> None:
    anymail(WEBHOOK_ALLOW_INSECURE=True)
    assert (post({}), post({}, INBOUND)) == (401, 503)


# Refusals


@pytest.mark.parametrize("token", ["wrong", "a.b.c", "tracking.1abcde.xyz", "ü", "x" * 5000, "=" * 20])
def test_a_bad_token_makes_sendgrid_get_a_new_one(token: str) -> None:
    refused = answer(bearer(token))
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert refused.content.startswith(b"invalid_token: ")
    assert token.encode() not in refused.content.partition(b": ")[2]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": ""}])
def test_a_missing_token_makes_sendgrid_get_one(headers: dict[str, str]) -> None:
    refused = answer(headers)
    assert (refused.status_code, refused.content) == (401, b"invalid_token: the post has no token\n")
    assert refused["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_is_refused(hours_later: Callable[[float], None]) -> None:
    token = own_token()
    hours_later(0.99)
    assert post(token) == 200
    hours_later(1.01)
    refused = answer(token)
    assert (refused.status_code, refused.content) == (401, b"invalid_token: the token has expired\n")
    assert refused["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_refused_token_is_counted_as_a_refused_post() -> None:
    assert post(bearer("wrong")) == 401
    assert counters.read_counters()["webhook_posts tracking 401 credentials"] == 1


def test_all_clients_malformed_get_503(anymail: Anymail, caplog: pytest.LogCaptureFixture) -> None:
    token = own_token()
    anymail(WEBHOOK_OAUTH_CLIENTS=["sendgrid:", "no-colon-in-this-one"])
    assert (post(token), post(token, INBOUND)) == (503, 503)
    assert "WEBHOOK_OAUTH_CLIENTS, entry 2: " in caplog.text
    assert "no-colon" not in caplog.text
    anymail(WEBHOOK_OAUTH_CLIENTS=["sendgrid:", CLIENT])
    assert (post(token), post(token, INBOUND)) == (200, 200)


# Inbound mail: a 4xx loses the mail


def test_a_mail_with_a_bad_token_is_kept_at_sendgrid() -> None:
    refused = answer(bearer("wrong"), INBOUND)
    assert (refused.status_code, b"send again: invalid_token: " in refused.content) == (503, True)


def test_a_mail_without_a_token_is_kept_at_sendgrid() -> None:
    """While the token URL is down, SendGrid might post without a token."""
    refused = answer({}, INBOUND)
    assert (refused.status_code, b"send again: invalid_token: the post has no token" in refused.content) == (
        503,
        True,
    )


def test_a_mail_may_have_the_token_of_its_first_post(
    anymail: Anymail, hours_later: Callable[[float], None]
) -> None:
    token = own_token()
    hours_later(72)
    assert post(token, INBOUND) == 200
    hours_later(76)
    refused = answer(token, INBOUND)
    assert (refused.status_code, b"invalid_token: the token has expired" in refused.content) == (503, True)
    anymail(SENDGRID_INBOUND_WEBHOOK_MAX_AGE=0)
    assert post(token, INBOUND) == 200
    anymail(SENDGRID_INBOUND_WEBHOOK_MAX_AGE=60)
    hours_later(0.99)
    assert post(token, INBOUND) == 200


# Garbage

header_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60
)


@given(header_texts | header_texts.map(lambda text: f"Bearer {text}"))
def test_a_garbage_header_is_refused(authorization: str) -> None:
    with pytest.raises(TokenRefused, match=r"^invalid_token: "):
        check_token(authorization, [CLIENT], "tracking", None)


tokens = st.text(st.characters(codec="latin-1"), max_size=80) | st.lists(
    st.text("abcXYZ019-_+/=~", max_size=20), min_size=1, max_size=5
).map(".".join)


@given(tokens)
def test_no_garbage_is_a_token(token: str) -> None:
    assert own_tokens.read_token(token, [CLIENT], None) is None


@given(st.data())
def test_a_changed_token_is_no_token(data: st.DataObject) -> None:
    token = own_tokens.issue(CLIENT, own_tokens.SCOPES)
    assert own_tokens.read_token(token, [CLIENT], None)
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("abcXYZ019-_.")) + token[at + 1 :]
    assert changed == token or own_tokens.read_token(changed, [CLIENT], None) is None
