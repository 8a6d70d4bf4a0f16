"""The webhook: who is let in, what is kept, what is answered. None of these tests may touch a database."""

import io
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpResponse
from django.test import Client
from django.test import utils as test_utils
from django.urls import path, reverse
from pytest_django import Settings
from redis import Redis

from devstack.valkey import Valkey
from events_app import stream
from events_app.dispatch import leases
from events_app.shared import counters, redis
from events_app.shared.log import floods
from events_app.views import SendGridTrackingWebhookView
from events_app.views.split import MOST_EVENTS
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.brokers import UNREACHABLE
from tests.support.events.webhook_requests import (
    BODY,
    PEM,
    SECRET,
    SENDER,
    UnreadBody,
    basic_auth,
    each_vector,
    unauthentic_headers,
    vector_body,
)

URL = "/anymail/sendgrid/tracking/"
KEY = "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY"

Anymail = Callable[..., None]


def post(body: bytes = BODY, headers: dict[str, str] = SECRET, url: str = URL) -> int:
    status: int = answer(body, headers, url).status_code
    return status


def answer(body: bytes = BODY, headers: dict[str, str] = SECRET, url: str = URL) -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.post(url, data=body, content_type="application/json", headers=headers)


def kept() -> list[bytes]:
    return [
        raw
        for entry in stream.read_entries(100_000, leases.lease_duration_ms()).entries
        for raw in entry.events
    ]


@pytest.fixture
def signed(anymail: Anymail) -> None:
    """Signatures of one key alone are accepted."""
    anymail(WEBHOOK_SECRET=[], **{KEY: SENDER.public_key})


@pytest.fixture
def webhook(settings: Settings) -> Callable[..., str]:
    """Makes a webhook with arguments of its own; answers its URL."""

    def make(**arguments: object) -> str:
        settings.ROOT_URLCONF = (path("webhook", SendGridTrackingWebhookView.as_view(**arguments)),)
        return "/webhook"

    return make


# Methods and middleware


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_the_webhook_url_works_with_and_without_a_trailing_slash(url: str) -> None:
    assert post(url=url) == 200
    assert len(kept()) == 3


def test_the_webhook_url_is_the_one_of_anymail() -> None:
    assert reverse("events_app:sendgrid_tracking_webhook") == URL


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_head_is_answered_with_200(anymail: Anymail, url: str) -> None:
    anymail(WEBHOOK_SECRET=[])
    assert Client().head(url).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(method: str) -> None:
    refused = Client().generic(method, URL, headers=SECRET)
    assert (refused.status_code, refused["Allow"]) == (405, "POST, HEAD")


def test_the_webhook_view_is_exempt_from_login_required_middleware(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        *(name for name in settings.MIDDLEWARE if name != "events_app.middleware.AnswerEventWebhook"),
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert post() == 200


def test_the_webhook_view_needs_no_database_despite_atomic_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    assert post() == 200


def test_the_answer_to_a_taken_post_is_empty() -> None:
    assert answer().content == b""


def test_the_content_type_does_not_matter() -> None:
    kinds = ["application/json;charset=utf-8", "text/plain", "application/x-www-form-urlencoded", ""]
    kinds.append("multipart/form-data; boundary=x")
    for kind in kinds:
        assert Client().generic("POST", URL, BODY, kind, headers=SECRET).status_code == 200


# Basic auth


@pytest.mark.parametrize(
    "authorization",
    [
        basic_auth("sendgrid:another-secret")["Authorization"],
        basic_auth("another:a-secret-for-tests-only")["Authorization"],
        basic_auth("")["Authorization"],
        basic_auth(":")["Authorization"],
        SECRET["Authorization"].replace("Basic", "Bearer"),
        SECRET["Authorization"].removeprefix("Basic "),
        SECRET["Authorization"] + "!",
        "Basic",
        "Basic ***",
        "Basic schlüssel",
        "Basic sendgrid:a-secret-for-tests-only",
        "",
    ],
)
def test_wrong_credentials_are_refused(authorization: str) -> None:
    assert post(headers={"Authorization": authorization}) == 403
    assert kept() == []


def test_no_credentials_are_refused() -> None:
    assert post(headers={}) == 403
    assert kept() == []


@pytest.mark.parametrize("pair", ["one:first-secret", "other:second: with colon", "ünï:çødé"])
def test_any_of_several_secrets_is_accepted(anymail: Anymail, pair: str) -> None:
    anymail(WEBHOOK_SECRET=["one:first-secret", "other:second: with colon", "ünï:çødé"])
    assert post(headers=basic_auth(pair)) == 200
    assert post(headers=basic_auth("one:second: with colon")) == 403


def test_the_case_of_the_basic_auth_scheme_does_not_matter() -> None:
    assert post(headers={"Authorization": SECRET["Authorization"].replace("Basic", "basic")}) == 200


@pytest.mark.parametrize("pairs", ["one:first-secret", ["one:first-secret", "two:x"], ("one:first-secret",)])
def test_b15_the_view_accepts_secrets_as_text_or_list(
    webhook: Callable[..., str], pairs: str | Sequence[str]
) -> None:
    url = webhook(basic_auth=pairs)
    assert post(headers=basic_auth("one:first-secret"), url=url) == 200
    assert post(headers=SECRET, url=url) == 403


# Signatures


@each_vector
def test_the_webhook_view_agrees_with_each_signature_vector(anymail: Anymail, vector: dict[str, Any]) -> None:
    anymail(WEBHOOK_SECRET=[], SENDGRID_TRACKING_WEBHOOK_MAX_AGE=0, **{KEY: vector["keys"]})
    headers = {
        "X-Twilio-Email-Event-Webhook-Timestamp": vector["timestamp"],
        "X-Twilio-Email-Event-Webhook-Signature": vector["signature"],
    }
    body = vector_body(vector)
    assert post(body, headers) == vector["answer"]
    found = [json.loads(raw) for raw in kept()]
    assert found == (json.loads(body) if vector["answer"] == 200 else [])


@pytest.mark.usefixtures("signed")
def test_a_signed_post_is_stored() -> None:
    assert post(headers=SENDER.headers(BODY)) == 200
    assert len(kept()) == 3


@pytest.mark.usefixtures("signed")
def test_a_post_without_its_signature_is_refused() -> None:
    headers = SENDER.headers(BODY)
    for missing in ("X-Twilio-Email-Event-Webhook-Timestamp", "X-Twilio-Email-Event-Webhook-Signature"):
        assert post(headers={name: value for name, value in headers.items() if name != missing}) == 403
    assert post(headers={}) == 403
    assert post(headers=SECRET) == 403
    assert kept() == []


def test_with_signature_key_and_secret_both_must_match(anymail: Anymail) -> None:
    anymail(**{KEY: SENDER.public_key})
    signature = SENDER.headers(BODY)
    assert post(headers=SECRET | signature) == 200
    assert post(headers=SECRET) == 403
    assert post(headers=signature) == 403
    assert post(headers=basic_auth("sendgrid:wrong") | signature) == 403
    assert post(headers=SECRET | WebhookSender().headers(BODY)) == 403
    assert len(kept()) == 3


@pytest.mark.parametrize(
    "keys",
    [
        SENDER.public_key,
        [WebhookSender().public_key, SENDER.public_key],
        PEM,
        PEM.replace("\n", "\\n"),
        [WebhookSender().public_key, PEM],
    ],
    ids=["bare", "list", "PEM", "PEM with literal backslash-n", "list with PEM"],
)
def test_b15_several_keys_and_pem_are_accepted(
    anymail: Anymail, webhook: Callable[..., str], keys: str | Sequence[str]
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: keys})
    assert post(headers=SENDER.headers(BODY)) == 200
    anymail(**{KEY: WebhookSender().public_key})
    url = webhook(tracking_webhook_verification_key=keys)
    assert post(headers=SENDER.headers(BODY), url=url) == 200
    assert post(headers=WebhookSender().headers(BODY), url=url) == 403


@pytest.mark.parametrize("key", ["nonsense", b"bytes", "SG.an-api-key", 17])
def test_an_invalid_public_key_gets_503_and_is_logged_as_an_error(
    anymail: Anymail, caplog: pytest.LogCaptureFixture, key: Any
) -> None:
    anymail(**{KEY: key})
    refused = answer(headers=SECRET | SENDER.headers(BODY))
    assert (refused.status_code, refused.content) == (503, b"a setting here is unusable\n")
    assert "A setting is unusable" in [r.msg[:21] for r in caplog.records if r.levelname == "ERROR"]
    assert str(key) not in caplog.text
    assert kept() == []


@pytest.mark.usefixtures("signed")
def test_by_default_a_signature_is_valid_one_hour_longer_than_sendgrid_retries() -> None:
    now = int(time.time())
    assert post(headers=SENDER.headers(BODY, now - 25 * 3600 + 600)) == 200
    assert post(headers=SENDER.headers(BODY, now - 25 * 3600 - 1)) == 403


@pytest.mark.usefixtures("signed")
def test_a_signature_older_than_the_max_age_is_refused(anymail: Anymail) -> None:
    now = int(time.time())
    anymail(SENDGRID_TRACKING_WEBHOOK_MAX_AGE=3600)
    assert post(headers=SENDER.headers(BODY, now - 7200)) == 403
    assert post(headers=SENDER.headers(BODY, now - 1800)) == 200
    anymail(SENDGRID_TRACKING_WEBHOOK_MAX_AGE=0)
    assert post(headers=SENDER.headers(BODY, 1_000_000_000)) == 200


@pytest.mark.usefixtures("signed")
@pytest.mark.parametrize("at", [0, 1, 999_999_999, 10**10, 1_784_000_000_000])
def test_a_signed_timestamp_other_than_ten_digits_is_refused(anymail: Anymail, at: int) -> None:
    anymail(SENDGRID_TRACKING_WEBHOOK_MAX_AGE=0)
    assert post(headers=SENDER.headers(BODY, at)) == 403


@pytest.mark.usefixtures("signed")
@pytest.mark.parametrize("fault", unauthentic_headers(SENDER))
def test_a_malformed_signature_is_refused_before_the_body_is_read(fault: str) -> None:
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": "1000"}
    refused = Client().generic("POST", URL, headers=unauthentic_headers(SENDER)[fault], **environ)
    assert refused.status_code == 403
    assert b"signature" in refused.content


@pytest.mark.usefixtures("signed")
def test_a_signature_from_the_future_is_refused() -> None:
    now = int(time.time())
    assert post(headers=SENDER.headers(BODY, now + 7200)) == 403
    assert post(headers=SENDER.headers(BODY, now + 1800)) == 200


# Nothing configured


@pytest.mark.parametrize("secret", [[], "", [""], None])
def test_without_keys_and_secrets_every_post_is_refused(anymail: Anymail, secret: object) -> None:
    anymail(WEBHOOK_SECRET=secret)
    assert post() == 403
    assert post(headers={}) == 403
    assert kept() == []


def test_webhook_allow_insecure_takes_unauthenticated_posts(anymail: Anymail) -> None:
    anymail(WEBHOOK_SECRET=[], WEBHOOK_ALLOW_INSECURE=True)
    assert post(headers={}) == 200


def test_webhook_allow_insecure_does_not_override_a_secret(anymail: Anymail) -> None:
    anymail(WEBHOOK_ALLOW_INSECURE=True)
    assert post(headers={}) == 403


@pytest.mark.parametrize(
    ("value", "status"), [(1, 200), ("yes", 200), ("False", 403), (0, 403), ("maybe", 503), (2, 503)]
)
def test_only_a_clear_yes_turns_webhook_allow_insecure_on(
    anymail: Anymail, value: object, status: int
) -> None:
    anymail(WEBHOOK_SECRET=[], WEBHOOK_ALLOW_INSECURE=value)
    assert post(headers={}) == status


# Bodies


def test_b11_a_batch_over_djangos_body_limit_is_taken(settings: Settings) -> None:
    events = generate_events(3000)
    body = event_batch([{**event, "padding": "x" * 700} for event in events])
    assert len(body) > 3_100_000 > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert post(body) == 200
    assert len(kept()) == 3000


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_refused(anymail: Anymail) -> None:
    anymail(SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT=len(BODY))
    assert post(BODY) == 200
    assert len(kept()) == 3
    assert post(BODY + b"\n") == 413
    assert kept() == []


def test_too_many_events_are_refused() -> None:
    assert post(b"[" + b",".join([b"{}"] * (MOST_EVENTS + 1)) + b"]") == 413
    assert kept() == []


@pytest.mark.parametrize("body", [b" ", b"{}", b"null", b"hello", b"\xff\xfe"])
def test_a_body_that_is_no_array_is_refused(body: bytes) -> None:
    assert post(body) == 400
    assert kept() == []


def test_an_empty_array_gets_200_and_stores_nothing(anymail: Anymail) -> None:
    assert post(b"[]\r\n") == 200
    assert (kept(), wake_ups()) == ([], 0)
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    assert post(b"[]\r\n") == 200


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b"[garbage", [b"garbage"]),
        (b'[{"event": "open"}, {"ev', [b'{"event": "open"}', b'{"ev']),
        (b"[\xff\x00]", [b"\xff\x00]"]),
        (b"[" * 100_000, [b"[" * 99_999]),
    ],
    ids=["garbage", "cut", "bytes", "deep"],
)
def test_invalid_json_elements_are_stored_unchanged(body: bytes, elements: list[bytes]) -> None:
    assert post(body) == 200
    assert kept() == elements


def test_a_valid_key_works_beside_an_invalid_one(anymail: Anymail, caplog: pytest.LogCaptureFixture) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: ["a bad paste", SENDER.public_key]})
    assert post(headers=SENDER.headers(BODY)) == 200
    assert "key 1: not a public key" in caplog.text


def test_a_body_shorter_than_its_length_is_refused() -> None:
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(BODY[:-10]), "CONTENT_LENGTH": str(len(BODY))}
    assert Client().generic("POST", URL, headers=SECRET, **environ).status_code == 400
    assert kept() == []


def test_a_body_without_content_length_gets_411() -> None:
    environ: dict[str, Any] = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    refused = Client().generic("POST", URL, headers=SECRET, **environ)
    assert (refused.status_code, b"Content-Length" in refused.content) == (411, True)


@pytest.mark.parametrize(("more", "status"), [(b"", 200), (b" ", 413)])
def test_a_body_without_content_length_under_asgi_has_the_same_limit(
    anymail: Anymail, more: bytes, status: int
) -> None:
    anymail(SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT=len(BODY))
    headers = [(name.lower().encode(), value.encode()) for name, value in SECRET.items()]
    scope = {"type": "http", "method": "POST", "path": URL, "headers": headers}
    response = SendGridTrackingWebhookView.as_view()(ASGIRequest(scope, io.BytesIO(BODY + more)))
    assert (response.status_code, len(kept())) == (status, 3 if status == 200 else 0)


@pytest.mark.parametrize("name", ["SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT", "EVENT_BACKLOG_LIMIT"])
def test_an_unusable_setting_gets_503(anymail: Anymail, name: str) -> None:
    anymail(**{name: "5MB"})
    assert post() == 503


@pytest.mark.parametrize("value", [[], "SG.key", None])
def test_anymail_that_is_no_dict_gets_503(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.delattr(test_utils._TestState, "saved_data")  # a test run reads ANYMAIL outside the view too
    settings.ANYMAIL = value
    assert post() == 503


def test_an_invalid_redis_url_gets_503_and_a_log_line_without_its_password(
    anymail: Anymail, caplog: pytest.LogCaptureFixture
) -> None:
    anymail(EVENT_REDIS_URL="redis://:f6c0b58d/x@redis.example.com:6379/0")
    assert post() == 503
    assert "A setting is unusable: ANYMAIL['EVENT_REDIS_URL']: has a character" in caplog.text
    assert "f6c0b58d" not in caplog.text


def test_elements_are_stored_unchanged_with_the_name_of_the_webhook_view() -> None:
    assert post(b'[{"b":1,"a":NaN},\r\n "text" ,[ 1 ]]') == 200
    entries = stream.read_entries(10, leases.lease_duration_ms()).entries
    assert [(e.webhook, e.events) for e in entries] == [
        ("tracking", [b'{"b":1,"a":NaN}', b'"text"', b"[ 1 ]"])
    ]


def test_a_broken_connection_gets_400() -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError("reset by peer")

    environ: dict[str, Any] = {"wsgi.input": Broken(), "CONTENT_LENGTH": "100"}
    broken = Client().generic("POST", URL, headers=SECRET, **environ)
    assert (broken.status_code, kept()) == (400, [])


# Redis


def test_a_temporary_refusal_logs_one_warning(anymail: Anymail, caplog: pytest.LogCaptureFixture) -> None:
    anymail(EVENT_BACKLOG_LIMIT=1)
    assert post() == 503
    assert [(record.name, record.levelname) for record in caplog.records] == [("events_app.views", "WARNING")]


def test_with_redis_away_a_post_gets_503(
    anymail: Anymail, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = settings.ANYMAIL
    monkeypatch.setattr(redis, "_OPEN_SECONDS", 3600)
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    assert post() == 503
    # Redis is back, and for a moment nobody asks.
    settings.ANYMAIL = there
    assert post() == 503
    assert kept() == []
    redis._open_until = 0.0
    assert post() == 200


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Takes connections and says nothing, as a frozen Redis does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def connections_to(server: socket.socket) -> int:
    for count in range(100):
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return count
        connection.close()
    return 100


def test_a_frozen_redis_delays_only_one_post(
    anymail: Anymail, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_OPEN_SECONDS", 3600)
    anymail(EVENT_REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert [post(), post(), post(headers={})] == [503, 503, 403]
    assert connections_to(silent) == 1


def test_over_the_backlog_limit_a_post_gets_503(anymail: Anymail) -> None:
    anymail(EVENT_BACKLOG_LIMIT=5)
    assert [post(), post()] == [200, 503]
    assert stream.backlog() == 3


def test_a_filling_redis_stores_a_post_whole_or_not_at_all(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as valkey, Redis.from_url(valkey.url(0)) as server:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        large = event_batch({**event, "padding": "x" * 10_000} for event in generate_events(100))
        assert post(large) == 200
        server.config_set("maxmemory", server.info("memory")["used_memory"] + 3_000_000)
        answers = [post(large) for _ in range(8)]
        server.config_set("maxmemory", 0)
        assert answers[-1] == 503
        assert stream.backlog() == len(kept()) == 100 + 100 * answers.count(200)
        redis.for_webhooks().close()


def test_a_full_redis_gets_503_and_stores_nothing(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as valkey, Redis.from_url(valkey.url(0)) as server:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        server.config_set("maxmemory", 1)
        refused = answer()
        assert (refused.status_code, b"nine tenths of its memory" in refused.content) == (503, True)
        assert server.exists(redis.key()) == 0
        redis.for_webhooks().close()


def test_a_nearly_full_redis_refuses_posts_with_503(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as valkey, Redis.from_url(valkey.url(0)) as server:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        assert post() == 200
        server.setrange("another", 30_000_000, b"x")
        server.config_set("maxmemory", int(server.info("memory")["used_memory"] / 0.95))
        refused = answer()
        assert (refused.status_code, b"nine tenths" in refused.content) == (503, True)
        assert not redis.is_circuit_open()
        assert len(kept()) == 3
        redis.for_webhooks().close()
        redis.for_workers().close()


# The wake-up


def wake_ups() -> int:
    return int(redis.for_workers().llen("sendgrid.events"))


def test_only_the_first_post_wakes_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "WAKE_UP_LIFETIME", 3_600_000)
    assert [post(), post(), post()] == [200, 200, 200]
    assert wake_ups() == 1
    kept()
    post()
    assert wake_ups() == 2


def test_a_refused_post_wakes_no_worker() -> None:
    post(headers={})
    post(b"{}")
    assert wake_ups() == 0


@pytest.mark.parametrize("broker", ["broker_away", "silent_broker"])
def test_with_the_broker_away_a_post_is_stored(request: pytest.FixtureRequest, broker: str) -> None:
    request.getfixturevalue(broker)
    assert post() == 200
    assert counters.read_counters() == {"wake_ups_failed": 1}
    assert len(kept()) == 3


# What people learn of a refusal


def test_refusals_are_counted_by_status_and_reason(anymail: Anymail) -> None:
    post(headers={})
    post(headers={})
    post(b"{}")
    anymail(EVENT_BACKLOG_LIMIT=1, SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT=2000)
    post()
    post(b" " * 2001)
    assert counters.read_counters() == {
        "webhook_posts tracking 400 malformed": 1,
        "webhook_posts tracking 403 credentials": 2,
        "webhook_posts tracking 413 too_large": 1,
        "webhook_posts tracking 503 full": 1,
    }


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (BODY, {}, "Webhook post refused with 403: basic auth is missing or wrong"),
        (
            b'{"email": "mira@example.net"}',
            SECRET,
            "Webhook post refused with 400: the body is not a JSON array",
        ),
        (b"mira@example.net" * 400_000, SECRET, "Webhook post refused with 413: the body has more than"),
    ],
)
def test_refusals_are_logged_as_warnings_without_the_content_of_the_post(
    caplog: pytest.LogCaptureFixture, body: bytes, headers: dict[str, str], says: str
) -> None:
    refused = answer(body, headers)
    (record,) = (record for record in caplog.records if record.name == "events_app.views")
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(says)
    assert "@" not in caplog.text + refused.content.decode()
    assert "django.request" not in {record.name for record in caplog.records}


def test_the_answer_says_why_in_plain_text() -> None:
    refused: HttpResponse = answer(headers={})
    assert refused["Content-Type"] == "text/plain"
    assert refused.content == b"basic auth is missing or wrong\n"


def test_without_keys_and_secrets_the_answer_names_the_settings(anymail: Anymail) -> None:
    anymail(WEBHOOK_SECRET=[])
    assert b"none of SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY, WEBHOOK_SECRET and" in answer().content


def test_refused_posts_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    posts = 2 * floods.MOST
    for _ in range(posts):
        assert post(headers={}) == 403
        assert post(b"no array") == 400
    refusals = [message for message in caplog.messages if message.startswith("Webhook post refused")]
    assert len(refusals) == 2 * floods.MOST
    assert counters.read_counters() == {
        "webhook_posts tracking 400 malformed": posts,
        "webhook_posts tracking 403 credentials": posts,
    }
