"""Secrets that are no secrets open no webhook, and harm no secret beside them."""

import base64
import os
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pytest
from django.test import Client

from events_app.checks import check_webhook_settings
from tests.support.events.webhook_requests import BODY, basic_auth

Anymail = Callable[..., None]

TRACKING, INBOUND = "/anymail/sendgrid/tracking/", "/anymail/sendgrid/inbound/"
both_webhooks = pytest.mark.parametrize("path", [TRACKING, INBOUND], ids=["tracking", "inbound"])

GOOD = "sendgrid:a-secret-for-tests-only"

#: Text of an environment that is not UTF-8, as Python decodes it.
NOT_UTF8 = os.fsdecode(b"sendgrid:schl\xfcssel-in-latin-1")

#: Entries by what an attacker would send for them.
MALFORMED = {
    ":": b":",
    "sendgrid:": b"sendgrid:",
    ":a-password-without-user": b":a-password-without-user",
    "no-colon-in-this-one": b"no-colon-in-this-one",
    f"{GOOD}\n": f"{GOOD}\n".encode(),
    NOT_UTF8: b"sendgrid:schl\xfcssel-in-latin-1",
}

each_malformed = pytest.mark.parametrize("secret", MALFORMED)


def post(path: str, pair: bytes) -> int:
    authorization = f"Basic {base64.b64encode(pair).decode()}"
    answer = Client().post(
        path, BODY, content_type="application/json", headers={"Authorization": authorization}
    )
    return int(answer.status_code)


@both_webhooks
@each_malformed
def test_a_malformed_secret_accepts_no_post(anymail: Anymail, path: str, secret: str) -> None:
    anymail(WEBHOOK_SECRET=secret)
    for pair in (MALFORMED[secret], b":", b"", GOOD.encode()):
        assert post(path, pair) == 503


@each_malformed
def test_a_malformed_secret_leaves_the_others_in_force(
    anymail: Anymail, caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    anymail(WEBHOOK_SECRET=[secret, GOOD])
    assert post(TRACKING, GOOD.encode()) == 200
    assert post(TRACKING, MALFORMED[secret]) == 403
    assert "WEBHOOK_SECRET, entry 1: " in caplog.text
    assert len(secret) < 5 or secret not in caplog.text


@both_webhooks
@pytest.mark.parametrize("secret", ["", " ", [], ["", " "]])
def test_empty_secrets_count_as_none_and_open_nothing(anymail: Anymail, path: str, secret: object) -> None:
    anymail(WEBHOOK_SECRET=secret)
    refusal = 403 if path == TRACKING else 503
    assert {post(path, pair) for pair in (b"", b" ", b":")} == {refusal}


@each_malformed
def test_a_malformed_secret_is_an_error_of_the_check(anymail: Anymail, secret: str) -> None:
    anymail(WEBHOOK_SECRET=[GOOD, secret])
    (found,) = check_webhook_settings()
    assert found.id == "events_app.E003"
    assert found.msg.startswith("WEBHOOK_SECRET, entry 2: ")
    assert "secrets.token_urlsafe" in str(found.hint)
    assert len(secret) < 5 or secret not in str(found)
    str(found).encode()  # a terminal can show it


@pytest.mark.parametrize("password", ["pass: with colon", "schlüssel-パス-🔑", "%3A/@?#[]"])
def test_a_password_percent_encoded_in_the_url_is_compared_in_utf8(anymail: Anymail, password: str) -> None:
    anymail(WEBHOOK_SECRET=f"ünï:{password}")
    url = urlsplit(f"https://{quote('ünï')}:{quote(password, safe='')}@mail.example.com{TRACKING}")
    pair = unquote_to_bytes(f"{url.username}:{url.password}")
    assert post(TRACKING, pair) == 200
    assert basic_auth(f"ünï:{password}")["Authorization"].endswith(base64.b64encode(pair).decode())
    assert post(TRACKING, f"ünï:{password}".encode("utf-16")) == 403
