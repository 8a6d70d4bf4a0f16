"""The content of mails is encrypted with the first key, and read with every key, or in plain text."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from fake_sendgrid.server import FakeSendGrid
from sending_app import encryption, outbox
from sending_app.delivery import sender
from sending_app.encryption import Undecryptable
from sending_app.mail import AttachedFile
from sending_app.models import Attachment, Mail, OutboxMessage
from tests.support.doctor import examine
from tests.support.operators import sign_in_superuser
from tests.support.sending.delivery import deliver, sendgrid_double
from tests.support.sending.outbox_mails import mail, only_part, personalization, put_in_outbox
from tests.support.sending.suppressions import suppress

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))

SECRET = "https://example.com/reset/5f2c"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    sender.unwritten.writes.clear()


@pytest.fixture
def sendgrid(anymail: Callable[..., None]) -> Iterator[FakeSendGrid]:
    with sendgrid_double(anymail) as found:
        yield found


def secret_mail() -> Any:
    file = AttachedFile(content=SECRET.encode(), filename="a.txt", type="text/plain")
    composed = mail(attachments=[file], content=[{"type": "text/plain", "value": SECRET}])
    composed.personalizations[0].merge_data["link"] = SECRET
    return composed


def contents() -> list[bytes]:
    """The columns with content, as the database has them."""
    using = outbox.using()
    columns: list[Any] = [
        *OutboxMessage.objects.using(using).values_list("content", flat=True),
        *Mail.objects.using(using).values_list("personalizations", flat=True),
        *Attachment.objects.using(using).values_list("content", flat=True),
    ]
    return [bytes(column) for column in columns]


def due_now() -> None:
    Mail.objects.using(outbox.using()).update(due="2026-01-01T00:00:00+00:00")


@given(st.binary() | st.binary().map(encryption._MARK.__add__), st.sampled_from([(), (NEW,), (NEW, OLD)]))
def test_content_comes_back_unchanged(content: bytes, keys: tuple[str, ...]) -> None:
    with override_settings(ANYMAIL={"OUTBOX_ENCRYPTION_KEYS": keys}):
        stored = encryption.encrypt(content)
        assert encryption.decrypt(stored) == content
        assert (encryption.key_of(stored) is None) == (not keys)
        assert encryption.decrypt(memoryview(stored)) == content


@given(st.binary())
def test_content_from_before_the_first_key_is_read(content: bytes) -> None:
    if not content.startswith(encryption._MARK):
        assert encryption.decrypt(content) == content


def test_a_mail_leaves_from_encrypted_rows(
    database: str, anymail: Callable[..., None], sendgrid: FakeSendGrid
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    put_in_outbox(secret_mail())
    put_in_outbox(mail("bob@example.com"))  # without a file: in one statement on PostgreSQL
    assert len(contents()) == 5
    assert all(encryption.key_of(content) for content in contents())
    assert not [content for content in contents() if b"example.com" in content]
    assert deliver() == {"accepted": 2}
    first, second = (request.body for request in sendgrid.accepted)
    assert first["content"] == [{"type": "text/plain", "value": SECRET}]
    assert first["attachments"][0]["content"] == "aHR0cHM6Ly9leGFtcGxlLmNvbS9yZXNldC81ZjJj"
    assert first["personalizations"][0]["substitutions"] == {"link": SECRET}
    assert second["personalizations"][0]["to"] == [{"email": "bob@example.com"}]


def test_subject_and_addresses_stay_readable(database: str, anymail: Callable[..., None]) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    put_in_outbox(mail())
    out = io.StringIO()
    call_command("outbox", "list", "--address", "ann@example.com", stdout=out)
    assert "Your order" in out.getvalue()


def test_rows_of_older_keys_and_in_plain_text_leave_after_a_change_of_keys(
    database: str, anymail: Callable[..., None], sendgrid: FakeSendGrid
) -> None:
    for keys in ([], [OLD], [NEW, OLD]):
        anymail(OUTBOX_ENCRYPTION_KEYS=keys)
        put_in_outbox(secret_mail())
    assert deliver() == {"accepted": 3}


def test_a_mail_without_its_key_waits_for_the_key(
    database: str, anymail: Callable[..., None], sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[OLD])
    put_in_outbox(secret_mail())
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    assert deliver() == {"retry": 1}
    part = only_part()
    assert part.state == "waiting"
    assert part.error.startswith("No key of OUTBOX_ENCRYPTION_KEYS decrypts the content.")
    assert [text for text in caplog.messages if text.startswith(f"Mail {part.pk} waits: No key of")]
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW, OLD])
    due_now()
    assert deliver() == {"accepted": 1}


def test_a_key_of_another_form_makes_mails_wait_too(
    database: str, anymail: Callable[..., None], sendgrid: FakeSendGrid
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[OLD])
    put_in_outbox(secret_mail())
    anymail(OUTBOX_ENCRYPTION_KEYS="s3cr3t")
    assert deliver() == {"retry": 1}
    assert "key 1 must be 32 bytes" in only_part().error
    assert "s3cr3t" not in only_part().error


def test_damaged_content_is_undecryptable(anymail: Callable[..., None]) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    stored = bytearray(encryption.encrypt(b"content"))
    stored[-1] ^= 1
    with pytest.raises(Undecryptable):
        encryption.decrypt(bytes(stored))


def test_parts_of_a_refused_mail_are_encrypted(
    database: str, anymail: Callable[..., None], sendgrid: FakeSendGrid
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    composed = mail("ann@example.com", "bob@example.com", batch=True)
    composed.personalizations[1] = personalization("bob@example..com")
    put_in_outbox(composed)
    assert deliver()["accepted"] == 1
    assert len(contents()) == 3
    assert all(encryption.key_of(content) for content in contents())


def test_what_is_left_of_a_mail_to_a_suppressed_address_is_encrypted(
    database: str, anymail: Callable[..., None], sendgrid: FakeSendGrid
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW], SUPPRESSION=True)
    suppress("ann@example.com")
    first, second = (mail("ann@example.com", "bob@example.com", batch=True) for _ in range(2))
    put_in_outbox(first)  # as if suppressed after `send()`
    outbox.keep(second, "default", 100, {"ann@example.com": "bounced"})
    assert all(encryption.key_of(content) for content in contents())
    assert deliver()["accepted"] == 2
    assert all(encryption.key_of(content) for content in contents())
    for request in sendgrid.accepted:
        assert [one["to"] for one in request.body["personalizations"]] == [[{"email": "bob@example.com"}]]


@pytest.mark.parametrize("page", ["change", "content", "attachment"])
def test_a_page_says_that_the_key_is_missing(
    database: str, anymail: Callable[..., None], page: str, client: Client
) -> None:
    sign_in_superuser(client)
    anymail(OUTBOX_ENCRYPTION_KEYS=[OLD])
    message = put_in_outbox(secret_mail())
    args = [only_part().pk, *([message.attachments.get().pk] if page == "attachment" else [])]
    url = reverse(f"admin:sending_app_mail_{page}", args=args)
    assert client.get(url).status_code == 200
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    answer = client.get(url)
    assert answer.status_code == (404 if page == "attachment" else 200)
    if page != "attachment":
        assert "No key of OUTBOX_ENCRYPTION_KEYS decrypts the content" in answer.content.decode()


def test_the_page_of_the_command_says_that_the_key_is_missing(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[OLD])
    put_in_outbox(secret_mail())
    anymail(OUTBOX_ENCRYPTION_KEYS=[])
    out = io.StringIO()
    call_command("outbox", "show", str(only_part().pk), stdout=out)
    assert "cannot be read: No key of OUTBOX_ENCRYPTION_KEYS" in out.getvalue()


def test_the_doctor_names_a_missing_key_and_one_still_in_use(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[OLD])
    put_in_outbox(mail())
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW])
    put_in_outbox(mail())
    (fault,) = (line for line in examine().lines if line.subject == "Encryption")
    assert fault.level == "error"
    assert fault.text == "No key of OUTBOX_ENCRYPTION_KEYS decrypts the content of 1 message."
    anymail(OUTBOX_ENCRYPTION_KEYS=[NEW, OLD])
    (line,) = (line for line in examine().lines if line.subject == "Encryption")
    assert line.text == "An older key of OUTBOX_ENCRYPTION_KEYS still encrypts 1 message."
