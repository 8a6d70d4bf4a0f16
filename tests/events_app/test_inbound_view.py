"""The door for mail: who is let in, what is kept, and that all that is not kept is to come again."""

import io
import logging
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

from events_app import counters, redis
from events_app.inbound import storage
from events_app.models import InboundMail, InboundWork
from events_app.views import SendGridInboundWebhookView
from events_app.views.inbound import CHUNK
from fake_sendgrid import inbound
from fake_sendgrid.form import Form
from fake_sendgrid.webhook import Sender
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


def _letter() -> Form:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "mira@example.org", "desk@parse.example.com", "A question"
    mail.set_content("Where is it?\n")
    return inbound.raw(mail)


FORM = _letter()
BODY = FORM.body()


def signed(body: bytes = BODY, sender: Sender = SENDER) -> dict[str, str]:
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
    """Signatures of one key are all that opens the door."""
    anymail(WEBHOOK_SECRET=[], **{KEY: SENDER.public_key})


@pytest.fixture
def door(settings: Settings) -> Callable[..., str]:
    """Makes a door with arguments of its own; answers its URL."""

    def make(**arguments: object) -> str:
        settings.ROOT_URLCONF = (path("door", SendGridInboundWebhookView.as_view(**arguments)),)
        return "/door"

    return make


def rung() -> int:
    return int(redis.worker().llen("sendgrid.inbound"))


def kept() -> list[bytes]:
    return [storage.read(mail.file) for mail in InboundMail.objects.order_by("pk")]


def nothing_is_kept(folder: Path) -> bool:
    return (kept(), stored_files(folder), rung()) == ([], [], 0)


# What is kept


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_it_is_there_with_and_without_the_slash(database: str, url: str) -> None:
    assert post(url=url) == 200
    assert kept() == [BODY]


def test_its_address_is_the_one_anymails_users_gave_sendgrid() -> None:
    assert reverse("events_app:sendgrid_inbound_webhook") == URL


def test_a_post_is_kept_noted_owed_and_announced(database: str, folder: Path) -> None:
    came = answer()
    assert (came.status_code, came.content) == (200, b"")
    mail = InboundMail.objects.get()
    assert stored_files(folder) == [folder / mail.file]
    assert (mail.size, bytes(mail.digest)) == (len(BODY), sha256(BODY).digest())
    assert (mail.content_type, mail.door, mail.key) == (FORM.content_type, "inbound", None)
    work = InboundWork.objects.get()
    assert (work.mail_id, work.state, work.claim, work.failures) == (mail.pk, "owed", None, 0)
    assert rung() == 1


def test_each_post_is_kept_be_it_a_repeat_or_not(database: str) -> None:
    assert [post(), post()] == [200, 200]
    assert kept() == [BODY, BODY]


@pytest.mark.parametrize("body", [b"\x00\xff not multipart", b"{}", b"\r\n", BODY[:-30]])
def test_whatever_is_authentic_is_kept(database: str, body: bytes) -> None:
    assert post(body) == 200
    assert kept() == [body]


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "x" * 1000, "a\x00b"])
def test_the_content_type_does_not_matter(database: str, kind: str) -> None:
    assert Client().generic("POST", URL, BODY, kind, headers=SECRET).status_code == 200
    assert InboundMail.objects.get().content_type == kind.replace("\x00", "")[:255]


def test_a_storage_without_paths_keeps_it_as_well(database: str, settings: Settings) -> None:
    use_memory(settings)
    assert post() == 200
    assert kept() == [BODY]


def test_a_large_mail_passes_djangos_limits_and_is_never_whole_in_memory(
    database: str, settings: Settings
) -> None:
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


def test_a_body_that_comes_in_small_pieces_is_put_together(database: str, anymail: Anymail) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(7, size or 0))

    anymail(**{KEY: SENDER.public_key})
    environ: dict[str, Any] = {"wsgi.input": Slow(BODY), "CONTENT_LENGTH": str(len(BODY))}
    assert post(b"", SECRET | signed(), **environ) == 200
    assert kept() == [BODY]


# Methods and middleware


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_head_says_that_somebody_is_there(url: str) -> None:
    assert Client().head(url).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(method: str) -> None:
    refused = Client().generic(method, URL, headers=SECRET)
    assert (refused.status_code, refused["Allow"]) == (405, "POST, HEAD")


def test_a_project_that_asks_everybody_to_log_in_lets_sendgrid_in(database: str, settings: Settings) -> None:
    login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login]
    assert post() == 200


def test_a_database_that_is_away_does_not_keep_it_from_answering(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with database_away("default"):
        assert post(headers={}) == 403


# Who is let in


def test_who_bears_no_credentials_at_all_is_refused_for_good(folder: Path, anymail: Anymail) -> None:
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
def test_wrong_credentials_are_to_come_again(folder: Path, authorization: str) -> None:
    assert post(headers={"Authorization": authorization}) == 503
    assert nothing_is_kept(folder)


@pytest.mark.usefixtures("signatures")
def test_a_signed_post_is_kept(database: str) -> None:
    assert post(headers=signed()) == 200
    assert kept() == [BODY]


@pytest.mark.usefixtures("signatures")
@pytest.mark.parametrize(
    "headers",
    [
        signed(sender=Sender()),
        signed(BODY + b"\n"),
        signed() | {"X-Twilio-Email-Event-Webhook-Timestamp": "1784000000"},
        signed() | {"X-Twilio-Email-Event-Webhook-Timestamp": ""},
        signed() | {"X-Twilio-Email-Event-Webhook-Timestamp": "٣"},
        signed() | {"X-Twilio-Email-Event-Webhook-Signature": "***"},
        SECRET,
    ],
    ids=["another's", "of another body", "another time", "no time", "odd time", "garbage", "none"],
)
def test_a_signature_that_does_not_fit_is_to_come_again(folder: Path, headers: dict[str, str]) -> None:
    assert post(headers=headers) == 503
    assert nothing_is_kept(folder)


@pytest.mark.usefixtures("signatures")
@pytest.mark.parametrize("fault", unauthentic_headers(SENDER))
def test_the_body_of_a_signature_that_cannot_be_good_is_not_waited_for(folder: Path, fault: str) -> None:
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


def test_where_both_are_set_both_must_hold(database: str, folder: Path, anymail: Anymail) -> None:
    anymail(**{KEY: SENDER.public_key})
    assert post(headers=SECRET) == 503
    assert post(headers=signed()) == 503
    assert post(headers=SECRET | signed(sender=Sender())) == 503
    assert post(headers=basic_auth("sendgrid:wrong") | signed()) == 503
    assert nothing_is_kept(folder)
    assert post(headers=SECRET | signed()) == 200


@pytest.mark.parametrize(
    "keys",
    [SENDER.public_key, [Sender().public_key, SENDER.public_key], PEM, ["a bad paste", SENDER.public_key]],
    ids=["one", "several", "PEM", "beside a bad one"],
)
def test_keys_may_be_several_of_the_settings_or_of_the_view(
    database: str, anymail: Anymail, door: Callable[..., str], keys: Any
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: keys})
    assert post(headers=signed()) == 200
    anymail(**{KEY: Sender().public_key})
    assert post(headers=signed(), url=door(inbound_webhook_verification_key=keys)) == 200


def test_the_view_has_secrets_of_its_own(database: str, door: Callable[..., str]) -> None:
    url = door(basic_auth=["one:first-secret", "two:second-secret"])
    assert post(headers=basic_auth("two:second-secret"), url=url) == 200
    assert post(headers=SECRET, url=url) == 503


def test_the_keys_of_events_do_not_open_it(anymail: Anymail) -> None:
    anymail(WEBHOOK_SECRET=[], SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=SENDER.public_key)
    assert post(headers=signed()) == 503


@pytest.mark.parametrize("headers", [{}, SECRET, signed()])
def test_where_nothing_is_set_all_are_to_come_again(
    folder: Path, anymail: Anymail, headers: dict[str, str]
) -> None:
    anymail(WEBHOOK_SECRET=[])
    refused = answer(headers=headers)
    assert refused.status_code == 503
    assert b"neither SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY nor WEBHOOK_SECRET" in refused.content
    assert nothing_is_kept(folder)


def test_an_open_door_is_a_setting_of_its_own(database: str, anymail: Anymail) -> None:
    anymail(WEBHOOK_ALLOW_INSECURE=True)
    assert post(headers={}) == 403
    anymail(WEBHOOK_SECRET=[])
    assert post(headers={}) == 200


@pytest.mark.parametrize("key", ["nonsense", 17])
def test_a_key_that_is_none_is_an_error_in_the_log(
    folder: Path, anymail: Anymail, caplog: pytest.LogCaptureFixture, key: Any
) -> None:
    anymail(WEBHOOK_SECRET=[], **{KEY: key})
    refused = answer(headers=signed())
    assert (refused.status_code, refused.content) == (503, b"a setting here is unusable\n")
    assert "A setting is unusable" in caplog.text
    assert "nonsense" not in caplog.text
    assert nothing_is_kept(folder)


# Bodies


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(
    database: str, folder: Path, anymail: Anymail
) -> None:
    anymail(SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT=len(BODY) - 1)
    assert post() == 503
    assert nothing_is_kept(folder)
    anymail(SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT=len(BODY))
    assert post() == 200


@pytest.mark.parametrize("length", ["", "0", "-1", "abc", "33554433", "9" * 30, "9" * 5000, "1,2"])
def test_what_the_headers_alone_condemn_is_not_waited_for(folder: Path, length: str) -> None:
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": length}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("headers", [{}, basic_auth("sendgrid:wrong"), signed()])
def test_strangers_are_not_waited_for(headers: dict[str, str]) -> None:
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": "1000"}
    assert post(b"", headers, **environ) in (403, 503)


def test_a_body_cut_short_is_to_come_again(folder: Path) -> None:
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(BODY[:-10]), "CONTENT_LENGTH": str(len(BODY))}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)


def test_a_body_that_is_longer_than_it_says_is_to_come_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Servers see to that; under ASGI Django does not.
    monkeypatch.setattr("django.core.handlers.wsgi.LimitedStream", lambda stream, length: stream)
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(BODY), "CONTENT_LENGTH": str(len(BODY) - 10)}
    assert post(**environ) == 503
    assert nothing_is_kept(folder)


def test_a_connection_that_breaks_is_an_answer(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    """The site on a port; answers the door's URL."""
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{URL}"
        server.shutdown()
        thread.join()


def test_chunks_that_a_server_does_not_put_together_are_to_come_again(folder: Path) -> None:
    with served() as url:
        refused = requests.post(url, data=iter([b"x"]), headers=SECRET, timeout=10)
    assert (refused.status_code, "Content-Length" in refused.text) == (503, True)
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("body", [BODY, b""])
def test_chunks_under_asgi_have_been_put_together_by_django(database: str, body: bytes) -> None:
    authorization = (b"authorization", SECRET["Authorization"].encode())
    scope = {"method": "POST", "path": URL, "headers": [authorization, (b"transfer-encoding", b"chunked")]}
    answered = SendGridInboundWebhookView.as_view()(ASGIRequest(scope, io.BytesIO(body)))
    assert answered.status_code == (200 if body else 503)
    assert kept() == [body] * bool(body)


def test_a_redirect_on_the_wire_is_none(settings: Settings, folder: Path) -> None:
    settings.SECURE_SSL_REDIRECT = True
    with served() as url:
        refused = requests.post(url, data=b"x", headers=SECRET, timeout=10)
    assert (refused.status_code, refused.history) == (503, [])
    assert nothing_is_kept(folder)


# What is away


def test_without_a_storage_all_are_to_come_again(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = settings.STORAGES
    settings.STORAGES = {alias: value for alias, value in there.items() if alias != storage.ALIAS}
    environ: dict[str, Any] = {"wsgi.input": UnreadBody(), "CONTENT_LENGTH": "1000"}
    assert post(**environ) == 503
    assert 'STORAGES has no "sendgrid_inbound"' in caplog.text
    settings.STORAGES = there
    assert nothing_is_kept(folder)


def test_a_storage_that_is_full_and_later_is_not(
    database: str, settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    use_full_storage(settings)
    refused = answer()
    assert (refused.status_code, InboundMail.objects.count(), rung()) == (503, 0, 0)
    assert b"the storage did not take the mail: OSError: No space left on device" in refused.content
    assert "secret" not in caplog.text
    use_folder(settings, folder)
    assert nothing_is_kept(folder)
    assert post() == 200
    assert kept() == [BODY]


def test_a_disk_that_is_full_while_the_body_comes_in(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(folder / "nowhere")
    assert post() == 503
    assert "the storage did not take the mail: FileNotFoundError" in caplog.text
    assert nothing_is_kept(folder)


def test_a_database_that_is_away_and_later_is_there(
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


def test_a_database_that_refuses_the_row(database: str, folder: Path) -> None:
    def execute(call: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "events_app_inboundwork"'):
            raise DatabaseError
        return call(sql, *rest)

    with connections[database].execute_wrapper(execute):
        assert post() == 503
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("happens", [True, False])
def test_a_connection_that_breaks_at_the_commit_does_not_make_two_of_one(
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


def test_a_file_that_cannot_be_taken_back_waits_for_the_sweep(
    database: str,
    settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def stuck(name: str) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(storage, "remove", stuck)
    with database_away(database):
        assert post() == 503
    (left,) = stored_files(folder)
    assert "stays until it is swept: PermissionError: Permission denied" in caplog.text
    assert left.name not in caplog.text
    assert (kept(), rung()) == ([], 0)


@pytest.mark.parametrize("broker", ["broker_away", "silent_broker"])
def test_with_redis_and_the_broker_away_the_post_is_kept_all_the_same(
    database: str, anymail: Anymail, request: pytest.FixtureRequest, broker: str
) -> None:
    request.getfixturevalue(broker)
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    assert post() == 200
    assert kept() == [BODY]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, ZeroDivisionError])
def test_whatever_else_goes_wrong_is_an_answer_and_a_traceback(
    database: str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("events_app.inbound.mails.keep", fails)
    refused = answer()
    assert (refused.status_code, refused.content) == (
        503,
        b"not taken, send again: something went wrong here\n",
    )
    (record,) = (record for record in caplog.records if record.exc_info)
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "A mail could not be taken")
    assert "@" not in re.sub(r"@pytest\S*|@contextmanager", "", caplog.text)
    assert nothing_is_kept(folder)


@pytest.mark.parametrize("name", ["SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT", "WEBHOOK_SECRET", KEY])
def test_an_unusable_setting_is_an_answer(anymail: Anymail, name: str) -> None:
    anymail(**{name: 5.5})
    assert post() == 503


# What people learn of a refusal


def test_refusals_are_counted_by_their_answer() -> None:
    post(headers={})
    post(headers=basic_auth("sendgrid:wrong"))
    post(b"")
    assert counters.read() == {"refused_403": 1, "refused_503": 2}


def test_refusals_are_logged_as_warnings_without_anything_of_the_post(
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
