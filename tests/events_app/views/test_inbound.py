"""The webhook for mail: who is let in, what is kept, and that all that is not kept is to come again."""

import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, OperationalError, connections
from django.test import Client
from django.urls import path, reverse
from pytest_django import Settings

from events_app.inbound import storage
from events_app.models import InboundMail, PendingInboundDelivery
from events_app.shared import counters, redis
from events_app.views import SendGridInboundWebhookView
from events_app.views.inbound import CHUNK
from fake_sendgrid import inbound_form
from fake_sendgrid.multipart_form import MultipartForm
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.brokers import UNREACHABLE
from tests.support.databases import database_away
from tests.support.events.webhook_requests import (
    PEM,
    SECRET,
    SENDER,
    UnreadBody,
    basic_auth,
    unauthentic_headers,
)
from tests.support.inbound.storages import stored_files, use_folder, use_full_storage, use_memory

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

URL = "/anymail/sendgrid/inbound/"
KEY = "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY"

Anymail = Callable[..., None]


def _letter() -> MultipartForm:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "mira@example.org", "desk@parse.example.com", "A question"
    mail.set_content("Where is it?\n")
    return inbound_form.raw_form(mail)


FORM = _letter()
BODY = FORM.body()


def signed(body: bytes = BODY, sender: WebhookSender = SENDER) -> dict[str, str]:
    return sender.headers(body, content_type=FORM.content_type)


def answer(body: bytes = BODY, headers: dict[str, str] = SECRET, url: str = URL, **environ: Any) -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.generic("POST", url, body, FORM.content_type, headers=headers, **environ)


def post(body: bytes = BODY, headers: dict[str, str] = SECRET, url: str = URL, **environ: Any) -> int:
    status: int = answer(body, headers, url, **environ).status_code
    return status


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    use_folder(settings, tmp_path)
    return tmp_path


@pytest.fixture
def signatures(anymail: Anymail) -> None:
    """Signatures of one key alone are accepted."""
    anymail(WEBHOOK_SECRET=[], **{KEY: SENDER.public_key})


@pytest.fixture
def webhook(settings: Settings) -> Callable[..., str]:
    """Makes a webhook with arguments of its own; answers its URL."""

    def make(**arguments: object) -> str:
        settings.ROOT_URLCONF = (path("webhook", SendGridInboundWebhookView.as_view(**arguments)),)
        return "/webhook"

    return make


def wake_ups() -> int:
    return int(redis.for_workers().llen("sendgrid.inbound"))


def kept() -> list[bytes]:
    return [storage.read_file(mail.file) for mail in InboundMail.objects.order_by("pk")]


def nothing_is_kept(folder: Path) -> bool:
    return (kept(), stored_files(folder), wake_ups()) == ([], [], 0)


# What is kept


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_the_webhook_url_works_with_and_without_a_trailing_slash(database: str, url: str) -> None:
    assert post(url=url) == 200
    assert kept() == [BODY]


def test_the_webhook_url_is_the_one_of_anymail() -> None:
    assert reverse("events_app:sendgrid_inbound_webhook") == URL


def test_a_post_is_stored_recorded_pending_and_wakes_a_worker(database: str, folder: Path) -> None:
    came = answer()
    assert (came.status_code, came.content) == (200, b"")
    mail = InboundMail.objects.get()
    assert stored_files(folder) == [folder / mail.file]
    assert (mail.size, bytes(mail.digest)) == (len(BODY), sha256(BODY).digest())
    assert (mail.content_type, mail.webhook, mail.key) == (FORM.content_type, "inbound", None)
    work = PendingInboundDelivery.objects.get()
    assert (work.mail_id, work.state, work.lease, work.failures) == (mail.pk, "pending", None, 0)
    assert wake_ups() == 1


def test_duplicate_posts_are_both_stored(database: str) -> None:
    assert [post(), post()] == [200, 200]
    assert kept() == [BODY, BODY]


@pytest.mark.parametrize("body", [b"\x00\xff not multipart", b"{}", b"\r\n", BODY[:-30]])
def test_any_authenticated_body_is_stored(database: str, body: bytes) -> None:
    assert post(body) == 200
    assert kept() == [body]


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "x" * 1000, "a\x00b"])
def test_the_content_type_does_not_matter(database: str, kind: str) -> None:
    assert Client().generic("POST", URL, BODY, kind, headers=SECRET).status_code == 200
    assert InboundMail.objects.get().content_type == kind.replace("\x00", "")[:255]


def test_a_storage_without_paths_stores_a_post(database: str, settings: Settings) -> None:
    use_memory(settings)
    assert post() == 200
    assert kept() == [BODY]


def test_a_large_mail_passes_djangos_limits_and_is_read_in_chunks(database: str, settings: Settings) -> None:
    body = BODY + b"x" * 5_000_000
    assert len(body) > django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    sizes = []

    class Wire(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes.append(size)
            return super().read(size)

    environ: dict[str, Any] = {"wsgi.input": Wire(body), "CONTENT_LENGTH": str(len(body))}
    assert post(**environ) == 200
    assert kept() == [body]
    assert all(size is not None and 0 < size <= CHUNK for size in sizes)


def test_a_body_that_arrives_in_small_pieces_is_stored_whole(database: str, anymail: Anymail) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(7, size or 0))

    anymail(**{KEY: SENDER.public_key})
    environ: dict[str, Any] = {"wsgi.input": Slow(BODY), "CONTENT_LENGTH": str(len(BODY))}
    assert post(b"", SECRET | signed(), **environ) == 200
    assert kept() == [BODY]


# Methods and middleware


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_head_is_answered_with_200(url: str) -> None:
    assert Client().head(url).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(method: str) -> None:
    refused = Client().generic(method, URL, headers=SECRET)
    assert (refused.status_code, refused["Allow"]) == (405, "POST, HEAD")


def test_the_webhook_view_is_exempt_from_login_required_middleware(database: str, settings: Settings) -> None:
    login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login]
    assert post() == 200


def test_a_refused_post_needs_no_database(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with database_away("default"):
        assert post(headers={}) == 403


# Who is let in


def test_a_post_without_any_credentials_gets_403(folder: Path, anymail: Anymail) -> None:
    assert post(headers={}) == 403
    anymail(**{KEY: SENDER.public_key})
    assert post(headers={}) == 403
    anymail(WEBHOOK_SECRET=[])
    assert post(headers={}) == 403
    assert post(headers={"X-Twilio-Email-Event-Webhook-Timestamp": "1784000000"}) == 403
    assert nothing_is_kept(folder)


@pytest.mark.parametrize(
    "authorization",
    [
        basic_auth("sendgrid:wrong")["Authorization"],
        "Basic ***",
        "Bearer x",
        "Basic",
        SECRET["Authorization"] + "!",
    ],
)
def test_wrong_credentials_get_503(folder: Path, authorization: str) -> None:
    assert post(headers={"Authorization": authorization}) == 503
    assert nothing_is_kept(folder)


@pytest.mark.usefixtures("signatures")
def test_a_signed_post_is_stored(database: str) -> None:
    assert post(headers=signed()) == 200
    assert kept() == [BODY]


@pytest.mark.usefixtures("signatures")
@pytest.mark.parametrize(
    "headers",
    [
        signed(sender=WebhookSender()),
        signed(BODY + b"\n"),
        signed() | {"X-Twilio-Email-Event-Webhook-Timestamp": "1784000000"},
        signed() | {"X-Twilio-Email-Event-Webhook-Timestamp": ""},
        signed() | {"X-Twilio-Email-Event-Webhook-Timestamp": "٣"},
        signed() | {"X-Twilio-Email-Event-Webhook-Signature": "***"},
        SECRET,
    ],
    ids=["another's", "of another body", "another time", "no time", "odd time", "garbage", "none"],
)
def test_a_signature_that_does_not_match_gets_503(folder: Path, headers: dict[str, str]) -> None:
    assert post(headers=headers) == 503
    assert nothing_is_kept(folder)


@pytest.mark.usefixtures("signatures")
@pytest.mark.parametrize("fault", unauthentic_headers(SENDER))
def test_a_malformed_signature_is_refused_before_the_body_is_read(folder: Path, fault: str) -> None:
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": "1000"}
    assert post(b"", unauthentic_headers(SENDER)[fault], **environ) == 503
    assert nothing_is_kept(folder)


def old(seconds: int) -> dict[str, str]:
    return SENDER.headers(BODY, int(time.time()) - seconds, content_type=FORM.content_type)


@pytest.mark.usefixtures("signatures")
def test_a_signature_outlives_sendgrids_retries_by_three_hours(database: str, anymail: Anymail) -> None:
    assert post(headers=old(75 * 3600 + 1)) == 503
    assert post(headers=old(75 * 3600 - 600)) == 200
    anymail(SENDGRID_INBOUND_WEBHOOK_MAX_AGE=3600)
    assert post(headers=old(3700)) == 503
    anymail(SENDGRID_INBOUND_WEBHOOK_MAX_AGE=0)
    assert post(headers=old(10**8)) == 200


def test_with_signature_key_and_secret_both_must_match(database: str, folder: Path, anymail: Anymail) -> None:
    anymail(**{KEY: SENDER.public_key})
    assert post(headers=SECRET) == 503
    assert post(headers=signed()) == 503
    assert post(headers=SECRET | signed(sender=WebhookSender())) == 503
    assert post(headers=basic_auth("sendgrid:wrong") | signed()) == 503
    assert nothing_is_kept(folder)
    assert post(headers=SECRET | signed()) == 200


@pytest.mark.parametrize(
    "keys",
    [
        SENDER.public_key,
        [WebhookSender().public_key, SENDER.public_key],
        PEM,
        ["a bad paste", SENDER.public_key],
    ],
    ids=["one", "several", "PEM", "beside a bad one"],
)
def test_several_keys_work_in_the_settings_and_in_the_view(
    database: str, anymail: Anymail, webhook: Callable[..., str], keys: Any
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: keys})
    assert post(headers=signed()) == 200
    anymail(**{KEY: WebhookSender().public_key})
    assert post(headers=signed(), url=webhook(inbound_webhook_verification_key=keys)) == 200


def test_secrets_of_the_view_replace_those_of_the_settings(
    database: str, webhook: Callable[..., str]
) -> None:
    url = webhook(basic_auth=["one:first-secret", "two:second-secret"])
    assert post(headers=basic_auth("two:second-secret"), url=url) == 200
    assert post(headers=SECRET, url=url) == 503


def test_the_tracking_key_is_not_accepted_for_inbound_posts(anymail: Anymail) -> None:
    anymail(WEBHOOK_SECRET=[], SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=SENDER.public_key)
    assert post(headers=signed()) == 503


@pytest.mark.parametrize("headers", [{}, SECRET, signed()])
def test_without_keys_and_secrets_every_post_gets_503(
    folder: Path, anymail: Anymail, headers: dict[str, str]
) -> None:
    anymail(WEBHOOK_SECRET=[])
    refused = answer(headers=headers)
    assert refused.status_code == 503
    assert b"none of SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY, WEBHOOK_SECRET and" in refused.content
    assert nothing_is_kept(folder)


def test_webhook_allow_insecure_takes_posts_only_without_a_secret(database: str, anymail: Anymail) -> None:
    anymail(WEBHOOK_ALLOW_INSECURE=True)
    assert post(headers={}) == 403
    anymail(WEBHOOK_SECRET=[])
    assert post(headers={}) == 200


@pytest.mark.parametrize("key", ["nonsense", 17])
def test_an_invalid_public_key_gets_503_and_is_logged_as_an_error(
    folder: Path, anymail: Anymail, caplog: pytest.LogCaptureFixture, key: Any
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: key})
    refused = answer(headers=signed())
    assert (refused.status_code, refused.content) == (503, b"a setting here is unusable\n")
    assert "A setting is unusable" in caplog.text
    assert "nonsense" not in caplog.text
    assert nothing_is_kept(folder)


# Bodies


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_refused(
    database: str, folder: Path, anymail: Anymail
) -> None:
    anymail(SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT=len(BODY) - 1)
    assert post() == 503
    assert nothing_is_kept(folder)
    anymail(SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT=len(BODY))
    assert post() == 200


@pytest.mark.parametrize("length", ["", "0", "-1", "abc", "33554433", "9" * 30, "9" * 5000, "1,2"])
def test_a_length_over_the_limit_or_invalid_is_refused_before_the_body_is_read(
    folder: Path, length: str
) -> None:
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": length}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("headers", [{}, basic_auth("sendgrid:wrong"), signed()])
def test_unauthenticated_posts_are_refused_before_the_body_is_read(headers: dict[str, str]) -> None:
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": "1000"}
    assert post(b"", headers, **environ) in (403, 503)


def test_a_body_shorter_than_its_length_gets_503(folder: Path) -> None:
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(BODY[:-10]), "CONTENT_LENGTH": str(len(BODY))}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)


def test_a_body_longer_than_its_length_gets_503(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Servers see to that; under ASGI Django does not.
    monkeypatch.setattr("django.core.handlers.wsgi.LimitedStream", lambda stream, length: stream)
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(BODY), "CONTENT_LENGTH": str(len(BODY) - 10)}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)


def test_a_broken_connection_gets_503_without_a_traceback(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError("reset by peer")

    environ: dict[str, Any] = {"wsgi.input": Broken(), "CONTENT_LENGTH": "100"}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)
    assert "Traceback" not in caplog.text


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    """The site on a port; answers the webhook's URL."""
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{URL}"
        server.shutdown()
        thread.join()


def test_a_chunked_body_of_a_wsgi_server_gets_503(folder: Path) -> None:
    with served() as url:
        refused = requests.post(url, data=iter([b"x"]), headers=SECRET, timeout=10)
    assert (refused.status_code, "Content-Length" in refused.text) == (503, True)
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("body", [BODY, b""])
def test_a_chunked_body_under_asgi_is_stored(database: str, body: bytes) -> None:
    authorization = (b"authorization", SECRET["Authorization"].encode())
    scope = {"method": "POST", "path": URL, "headers": [authorization, (b"transfer-encoding", b"chunked")]}
    answered = SendGridInboundWebhookView.as_view()(ASGIRequest(scope, io.BytesIO(body)))
    assert answered.status_code == (200 if body else 503)
    assert kept() == [body] * bool(body)


def test_a_redirect_becomes_503_on_the_wire(settings: Settings, folder: Path) -> None:
    settings.SECURE_SSL_REDIRECT = True
    with served() as url:
        refused = requests.post(url, data=b"x", headers=SECRET, timeout=10)
    assert (refused.status_code, refused.history) == (503, [])
    assert nothing_is_kept(folder)


# What is away


def test_without_a_storage_every_post_gets_503(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = settings.STORAGES
    settings.STORAGES = {alias: value for alias, value in there.items() if alias != storage.ALIAS}
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": "1000"}
    assert post(**environ) == 503
    assert 'STORAGES has no "sendgrid_inbound"' in caplog.text
    settings.STORAGES = there
    assert nothing_is_kept(folder)


def test_a_full_storage_gets_503_and_a_later_retry_is_stored(
    database: str, settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    use_full_storage(settings)
    refused = answer()
    assert (refused.status_code, InboundMail.objects.count(), wake_ups()) == (503, 0, 0)
    assert b"the storage did not take the mail: OSError: No space left on device" in refused.content
    assert "secret" not in caplog.text
    use_folder(settings, folder)
    assert nothing_is_kept(folder)
    assert post() == 200
    assert kept() == [BODY]


def test_a_disk_error_while_receiving_the_body_gets_503(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(folder / "nowhere")
    assert post() == 503
    assert "the storage did not take the mail: FileNotFoundError" in caplog.text
    assert nothing_is_kept(folder)


def test_a_database_outage_gets_503_and_a_later_retry_is_stored(
    database: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with database_away(database):
        refused = answer()
    assert refused.status_code == 503
    assert b"the database did not take the mail: OperationalError" in refused.content
    assert "Traceback" not in caplog.text
    assert nothing_is_kept(folder)
    assert post() == 200
    assert kept() == [BODY]


def test_a_row_refused_by_the_database_gets_503_and_stores_nothing(database: str, folder: Path) -> None:
    def execute(call: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "events_app_pendinginbounddelivery"'):
            raise DatabaseError
        return call(sql, *rest)

    with connections[database].execute_wrapper(execute):
        assert post() == 503
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("happens", [True, False])
def test_a_connection_lost_at_the_commit_stores_no_duplicate(
    database: str, folder: Path, happens: bool
) -> None:
    connection = connections[database]
    connection.ensure_connection()
    commit = connection._commit  # type: ignore[attr-defined]

    def broken() -> None:
        if happens:
            commit()
        raise OperationalError

    with mock.patch.object(connection, "_commit", broken):
        assert post() == (200 if happens else 503)
    assert kept() == [BODY] * happens
    assert len(stored_files(folder)) == happens


def test_a_file_that_cannot_be_removed_is_left_for_retention(
    database: str,
    settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def stuck(name: str) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(storage, "remove_file", stuck)
    with database_away(database):
        assert post() == 503
    (left,) = stored_files(folder)
    assert "the sweep removes it later: PermissionError: Permission denied" in caplog.text
    assert left.name not in caplog.text
    assert (kept(), wake_ups()) == ([], 0)


@pytest.mark.parametrize("broker", ["broker_away", "silent_broker"])
def test_a_post_is_stored_without_redis_and_broker(
    database: str, anymail: Anymail, request: pytest.FixtureRequest, broker: str
) -> None:
    request.getfixturevalue(broker)
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    assert post() == 200
    assert kept() == [BODY]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, ZeroDivisionError])
def test_an_unexpected_error_gets_503_and_a_log_line(
    database: str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("events_app.inbound.store.save_mail", fails)
    refused = answer()
    assert (refused.status_code, refused.content) == (
        503,
        b"not taken, send again: something went wrong here\n",
    )
    (line,) = (message for message in caplog.messages if message.startswith("Could not accept a mail: "))
    assert re.fullmatch(rf"Could not accept a mail: {error.__name__} at \S+/views/inbound\.py:\d+", line)
    assert not [record for record in caplog.records if record.exc_info]
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("name", ["SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT", "WEBHOOK_SECRET", KEY])
def test_an_unusable_setting_gets_503(anymail: Anymail, name: str) -> None:
    anymail(**{name: 5.5})
    assert post() == 503


# What people learn of a refusal


def test_posts_are_counted_by_status_and_reason() -> None:
    post(headers={})
    post(headers=basic_auth("sendgrid:wrong"))
    post(b"")
    assert counters.read_counters() == {
        "webhook_posts inbound 403 credentials": 1,
        "webhook_posts inbound 503 credentials": 1,
        "webhook_posts inbound 503 malformed": 1,
    }


def test_refusals_are_logged_as_warnings_without_the_content_of_the_post(
    folder: Path, anymail: Anymail, caplog: pytest.LogCaptureFixture
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: SENDER.public_key})
    refused = answer(b"mira@example.net", signed())
    (record,) = (record for record in caplog.records if record.name == "events_app.views")
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "Webhook post refused with 503: not taken, send again: "
        "the signature fits no key of SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY"
    )
    assert "django.request" not in {record.name for record in caplog.records}
    assert refused["Content-Type"] == "text/plain"
    assert "@" not in caplog.text + refused.content.decode()
