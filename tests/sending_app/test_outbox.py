"""`send()` inserts all rows of a message in the caller's transaction, or none."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext

from events_app.shared.database import database_now
from sending_app import exceptions, outbox, sql
from sending_app.api import payload
from sending_app.mail import AttachedFile, ComposedMail, Personalization, SharedContent
from sending_app.models import Attachment, Mail, OutboxMessage, Recipient
from tests.support.databases import on_postgresql
from tests.support.sending.mail_events import stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, personalization, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

#: Text that some place on the way could trip over.
ODD = 'Grüße \0 \U0001f600 \u2028 \\ " </script>'


def test_a_mail_is_stored_as_outbox_message_and_recipients(database: str) -> None:
    before = database_now(database)
    sent = mail("Ann@Example.com", cc=["bob@example.com"], bcc=["eve@example.com"])
    assert outbox.keep(sent, "default", 100) == Mail.Lane.MAIL
    message = OutboxMessage.objects.get()
    assert before <= message.created_at <= database_now(database)
    assert (message.alias, message.subject) == ("default", "Your order")
    found = only_part()
    assert (found.state, found.lane, found.alias) == ("waiting", "mail", "default")
    assert found.due == found.created_at == message.created_at
    assert (found.send_at, found.recipient_count, found.attempt_token, found.attempts) == (None, 3, None, 0)
    expected = [("ann@example.com", "to"), ("bob@example.com", "cc"), ("eve@example.com", "bcc")]
    assert [(one.address, one.kind) for one in stored_recipients()] == expected
    assert {str(one.message_id) for one in stored_recipients()} == {sent.personalizations[0].id}


def test_keep_builds_each_piece_of_a_plain_mail_once(database: str) -> None:
    with (
        mock.patch.object(payload, "build", wraps=payload.build) as build,
        mock.patch.object(payload, "build_personalization", wraps=payload.build_personalization) as piece,
    ):
        put_in_outbox()
    assert (build.call_count, piece.call_count) == (1, 1)
    assert build.call_args.args[1] == []


def test_shared_content_and_personalizations_are_read_back_unchanged(database: str) -> None:
    common = SharedContent(
        body={"subject": ODD, "n": 2**53, "f": 0.1, "deep": [{"a": [None, True]}]},
        global_data={ODD: ODD},
        dynamic=True,
        field_format="-{}-",
        extra={"send_at": 17},
        tracked=False,
    )
    one = Personalization(
        id=str(uuid.uuid4()),
        to=[{"email": "a@example.com", "name": ODD}],
        merge_data={"x": [1, {"y": ODD}]},
        metadata={"k": ODD},
        headers={"X-A": "b"},
        given={"to": [{"email": "a@example.com"}], "headers": {}},
    )
    put_in_outbox(ComposedMail(shared=common, personalizations=[one]))
    assert outbox.shared_content_of(OutboxMessage.objects.get()) == common
    assert outbox.personalizations_of(only_part()) == [one]


def test_attachments_are_stored_once_for_all_requests(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAX_RECIPIENTS", 2)
    files = [
        AttachedFile(content=bytes(range(256)), filename="a.bin", type="application/octet-stream"),
        AttachedFile(content=b"", filename="x" * 255, type="image/png", content_id="img"),
    ]
    put_in_outbox(mail(*(f"{n}@example.com" for n in range(5)), batch=True, attachments=files))
    rows = Attachment.objects.order_by("pk")
    assert [(bytes(row.content), row.filename, row.type, row.content_id) for row in rows] == [
        (file.content, file.filename, file.type, file.content_id) for file in files
    ]
    assert [one.recipient_count for one in all_parts()] == [2, 2, 1]
    assert [one.address for one in stored_recipients()] == [f"{n}@example.com" for n in range(5)]


def test_each_recipient_of_a_batch_has_an_id_and_a_copy(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", cc=["eve@example.com"], batch=True))
    assert [one.address for one in stored_recipients()] == [
        *("ann@example.com", "eve@example.com"),
        *("bob@example.com", "eve@example.com"),
    ]
    assert len({one.message_id for one in stored_recipients()}) == 2
    assert only_part().recipient_count == 4


@pytest.mark.parametrize(
    ("to", "batch", "bulk", "lane"),
    [
        (3, True, None, "bulk"),
        (2, True, None, "mail"),
        (3, False, None, "mail"),
        (1, False, True, "bulk"),
        (3, True, False, "mail"),
    ],
)
def test_large_batches_and_bulk_mails_use_the_bulk_lane(
    database: str, to: int, batch: bool, bulk: bool | None, lane: str
) -> None:
    sent = mail(*(f"{n}@example.com" for n in range(to)), batch=batch, bulk=bulk)
    assert outbox.keep(sent, "default", 2) == lane
    assert only_part().lane == lane


def test_a_rolled_back_transaction_leaves_no_outbox_rows(database: str) -> None:
    with transaction.atomic(using=database):
        put_in_outbox()
        transaction.set_rollback(True, using=database)
    assert not OutboxMessage.objects.exists()
    assert not Mail.objects.exists()


def test_an_invalid_mail_leaves_the_callers_transaction_intact(database: str) -> None:
    with transaction.atomic(using=database):
        put_in_outbox()
        with pytest.raises(exceptions.TooLarge):
            outbox.keep(mail(*(f"{n}@example.com" for n in range(1001))), "default", 100)
        with pytest.raises(ValueError, match="badly formed"):
            outbox.keep(
                replace(mail(), personalizations=[Personalization(id="x", to=[{"email": "a@b.example"}])]),
                "d",
                1,
            )
        put_in_outbox()
    assert OutboxMessage.objects.count() == Mail.objects.count() == Recipient.objects.count() == 2


def test_a_mail_refused_by_the_database_leaves_the_callers_transaction_intact(
    database: str,
) -> None:
    sent = mail()
    with transaction.atomic(using=database):
        put_in_outbox(sent)
        with pytest.raises(IntegrityError):
            put_in_outbox(sent)
    with pytest.raises(IntegrityError):
        put_in_outbox(sent)
    assert OutboxMessage.objects.count() == Mail.objects.count() == Recipient.objects.count() == 1


@on_postgresql
def test_insert_message_creates_the_same_rows_in_one_statement(database: str) -> None:
    def all_of_it() -> list[dict[str, Any]]:
        its_own = {"id", "mail_id", "created_at", "due"}
        return [
            {name: value for name, value in row.items() if name not in its_own and "message" not in name}
            for model in (OutboxMessage, Mail, Recipient)
            for row in model.objects.order_by("pk").values()
        ]

    sent = mail("Ann@Example.com", cc=["bob@example.com"], send_at=253_402_300)
    with CaptureQueriesContext(connections[database]) as queries:
        outbox.keep(sent, "default", 100)
    assert len(queries) == 1
    at_once = all_of_it()
    OutboxMessage.objects.all().delete()
    with mock.patch.object(sql, "is_postgresql", return_value=False):
        outbox.keep(sent, "default", 100)
    assert at_once == all_of_it()
    assert len(at_once) == 4


@pytest.mark.parametrize(
    ("to", "cc", "expected"),
    [
        (["ann@example.com", "ANN@example.com"], [], ["ann@example.com"]),
        (["ann@example.com"], ["Ann@Example.com"], ["ann@example.com"]),
        (["straße@example.com", "strasse@example.com"], [], ["straße@example.com", "strasse@example.com"]),
        (['"o\'neil"@example.com', "O'Neil@example.com"], [], ["o'neil@example.com"]),
        (["a\0nn@example.com", "ann@example.com"], [], ["ann@example.com"]),
        ([f"{'x' * 320}1", f"{'x' * 320}2"], [], ["x" * 320]),
    ],
)
def test_duplicate_addresses_are_one_recipient(
    database: str, to: list[str], cc: list[str], expected: list[str]
) -> None:
    put_in_outbox(ComposedMail(shared=SharedContent(body={}), personalizations=[personalization(*to, cc=cc)]))
    assert [(one.address, one.kind) for one in stored_recipients()] == [(one, "to") for one in expected]
    assert only_part().recipient_count == 2


@pytest.mark.parametrize("subject", [ODD, "", "x" * 300, None])
def test_the_cleaned_subject_is_stored(database: str, subject: Any) -> None:
    put_in_outbox(mail(subject=subject))
    assert OutboxMessage.objects.get().subject == str(subject).replace("\0", "")[:200]


def test_send_at_is_stored_and_the_mail_due_at_once(database: str) -> None:
    at = database_now(database).replace(microsecond=0) + timedelta(hours=5)
    put_in_outbox(mail(send_at=int(at.timestamp())))
    assert only_part().send_at == at
    assert only_part().due == only_part().created_at


def test_a_send_at_far_in_the_future_is_stored_with_a_limit(database: str) -> None:
    put_in_outbox(mail(send_at=253_402_300_000))
    found = only_part()
    assert found.send_at is not None
    assert timedelta(days=3) < found.send_at - found.created_at < timedelta(days=5)


def test_many_recipients_are_stored_with_few_queries(database: str) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        put_in_outbox(mail(*(f"{n}@example.com" for n in range(1000)), batch=True))
    assert len(queries) < 20
    assert Recipient.objects.count() == 1000


@pytest.mark.parametrize("model", [OutboxMessage, Mail, Attachment, Recipient])
def test_the_str_of_a_row_contains_no_address_or_content(database: str, model: Any) -> None:
    file = AttachedFile(content=b"x", filename="secret.pdf", type="application/pdf")
    put_in_outbox(mail(attachments=[file]))
    text = str(model.objects.get())
    assert "@" not in text
    assert "secret" not in text
    assert "order" not in text
