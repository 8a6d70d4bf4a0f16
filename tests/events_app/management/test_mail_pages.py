"""Whatever came in can be shown, to people and to programs."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.inbound import storage, store
from events_app.management.commands.inbound import Command
from events_app.models import InboundMail
from events_app.shared.console.terminal import dump
from fake_sendgrid import inbound_form as posts
from tests.support.inbound.mails import sample_mail

pytestmark = pytest.mark.django_db

HEADERS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "Content-Type", "Content-ID")
VALUES = st.binary(max_size=60) | st.sampled_from(
    [
        b'multipart/mixed; boundary="x"',
        b"application/x; name*0*=utf-8''%e2%80%ae; name*2=y",
        b"message/rfc822",
        b"=?utf-8?b?w7/=?= <a@b>, group: c@d;, <>",
        b"<a@b>\x00 <c d>",
    ]
)
PARTS = b"--x\r\n\r\nyes\r\n--x\r\nContent-ID: <a>\r\n\r\nno\r\n--x--"


def mail(mime: bytes, monkeypatch: pytest.MonkeyPatch) -> InboundMail:
    form = posts.raw_form(sample_mail()).replaced("email", mime)
    body = form.body()
    monkeypatch.setattr(storage, "read_file", lambda name: body)
    return InboundMail(
        pk=1,
        content_type=form.content_type,
        size=len(body),
        digest=sha256(body).digest(),
        webhook="inbound",
        received_at=datetime(2026, 7, 14, tzinfo=UTC),
    )


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=6),
    body=st.binary(max_size=80) | st.just(PARTS),
)
@example(headers=[("Date", b"31 Dec 9999 23:55:00 -0500")], body=b"")
def test_any_mail_can_be_shown_and_saved(
    monkeypatch: pytest.MonkeyPatch, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    mime = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + body
    row = mail(mime, monkeypatch)
    shown = "\n".join(Command().page(row, {}))
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    assert json.loads(dump(Command().page_as_json(row, {})))["unreadable"] == ""
    assert isinstance(store.parse_mail(row).message.as_bytes(), bytes)
