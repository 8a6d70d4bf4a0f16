"""The seed's heading "Limitations and quirks"."""

from base64 import b64encode
from collections.abc import Callable

import pytest

from fake_sendgrid.server import FakeSendGrid
from sending_app.exceptions import UnsupportedFeature
from tests.support.sending.django_mail import (
    SHARED_CONTENT,
    Sent,
    django_message,
    personalization_to,
)

Change = Callable[..., None]

HTML, AMP = "<p>It is on its way.</p>", "<!doctype html><html ⚡4email></html>"


def ids(sendgrid: FakeSendGrid) -> list[str]:
    (mail,) = sendgrid.accepted
    return [one["custom_args"]["anymail_id"] for one in mail.body["personalizations"]]


# Message-ID


def test_one_message_has_one_id_for_all_its_recipients(sent: Sent, sendgrid: FakeSendGrid) -> None:
    message = django_message(to=["ann@example.com", "Bob <bob@example.com>"], cc=["cora@example.com"])
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [
            {
                "to": [{"email": "ann@example.com"}, {"email": "bob@example.com", "name": "Bob"}],
                "cc": [{"email": "cora@example.com"}],
                "custom_args": {"anymail_id": "id-0"},
            }
        ],
    }
    (only,) = ids(sendgrid)
    status = message.anymail_status
    assert status.message_id == only
    assert {to: one.message_id for to, one in status.recipients.items()} == {
        "ann@example.com": only,
        "bob@example.com": only,
        "cora@example.com": only,
    }


def test_each_recipient_of_a_batch_has_an_id(sent: Sent, sendgrid: FakeSendGrid) -> None:
    message = django_message(to=["ann@example.com", "Bob <bob@example.com>"], merge_data={})
    sent(message)
    first, second = ids(sendgrid)
    status = message.anymail_status
    assert status.message_id == {first, second}
    assert status.recipients["ann@example.com"].message_id == first
    assert status.recipients["bob@example.com"].message_id == second


def test_a_batch_without_message_ids_has_no_ids(sent: Sent, anymail: Change) -> None:
    anymail(SENDGRID_GENERATE_MESSAGE_ID=False)
    message = django_message(
        to=["ann@example.com", "bob@example.com"], merge_metadata={"bob@example.com": {"n": 1}}
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [
            {"to": [{"email": "ann@example.com"}]},
            {"to": [{"email": "bob@example.com"}], "custom_args": {"n": "1"}},
        ],
    }
    status = message.anymail_status
    assert status.message_id is None
    assert {to: one.message_id for to, one in status.recipients.items()} == {
        "ann@example.com": None,
        "bob@example.com": None,
    }


def test_a_message_id_header_of_the_caller_is_unchanged(sent: Sent) -> None:
    message = django_message(headers={"Message-ID": "<of-ours@example.com>"})
    assert sent(message) == {
        **SHARED_CONTENT,
        "headers": {"Message-ID": "<of-ours@example.com>"},
        "personalizations": [personalization_to("ann@example.com")],
    }


# Invalid addresses


@pytest.mark.parametrize(
    ("written", "sender"),
    [
        ("webmaster@local", {"email": "webmaster@local"}),
        ("a..b.@no-such-domain.invalid", {"email": "a..b.@no-such-domain.invalid"}),
        ("Me! <what{ever}@-x-.example>", {"email": "what{ever}@-x-.example", "name": "Me!"}),
        ("ann@[127.0.0.1]", {"email": "ann@[127.0.0.1]"}),
    ],
)
def test_almost_any_from_email_is_passed_to_sendgrid(
    sent: Sent, written: str, sender: dict[str, str]
) -> None:
    assert sent(django_message(from_email=written)) == {
        **SHARED_CONTENT,
        "from": sender,
        "personalizations": [personalization_to("ann@example.com")],
    }


# Wrong character set on text attachments


@pytest.mark.parametrize(
    ("content", "mimetype"),
    [
        ("Grüße, 世界", "text/plain"),
        ("Grüße, 世界".encode(), "text/plain"),
        ("Grüße, 世界", 'text/plain; charset="utf-8"'),
    ],
)
def test_non_ascii_text_is_attached_in_utf8_without_a_charset(
    sent: Sent, content: str | bytes, mimetype: str
) -> None:
    message = django_message()
    message.attach("file", content, mimetype)
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [personalization_to("ann@example.com")],
        "attachments": [
            {
                "content": b64encode(content.encode() if isinstance(content, str) else content).decode(),
                "filename": "file",
                "type": mimetype.partition(";")[0],
            }
        ],
    }


def test_a_binary_file_keeps_its_bytes_and_content_type(sent: Sent) -> None:
    message = django_message(attachments=[("terms.pdf", b"%PDF-\xe4\xff", "application/pdf")])
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [personalization_to("ann@example.com")],
        "attachments": [
            {
                "content": b64encode(b"%PDF-\xe4\xff").decode(),
                "filename": "terms.pdf",
                "type": "application/pdf",
            }
        ],
    }


# Arbitrary alternative parts; AMP for Email


def test_arbitrary_alternatives_are_sent(sent: Sent) -> None:
    message = django_message()
    message.attach_alternative(HTML, "text/html")
    message.attach_alternative("# It is on its way.", "text/markdown")
    message.attach_alternative('{"@type": "Order"}', "application/ld+json")
    assert sent(message) == {
        **SHARED_CONTENT,
        "content": [
            {"type": "text/plain", "value": "It is on its way."},
            {"type": "text/html", "value": HTML},
            {"type": "text/markdown", "value": "# It is on its way."},
            {"type": "application/ld+json", "value": '{"@type": "Order"}'},
        ],
        "personalizations": [personalization_to("ann@example.com")],
    }


def test_amp_content_is_sent_between_text_and_html(sent: Sent) -> None:
    message = django_message()
    message.attach_alternative(AMP, "text/x-amp-html")
    message.attach_alternative(HTML, "text/html")
    assert sent(message) == {
        **SHARED_CONTENT,
        "content": [
            {"type": "text/plain", "value": "It is on its way."},
            {"type": "text/x-amp-html", "value": AMP},
            {"type": "text/html", "value": HTML},
        ],
        "personalizations": [personalization_to("ann@example.com")],
    }


# No envelope sender overrides


def test_an_envelope_sender_is_refused(sent: Sent, sendgrid: FakeSendGrid) -> None:
    message = django_message(envelope_sender="bounces@example.com")
    with pytest.raises(UnsupportedFeature, match="envelope_sender"):
        sent(message)
    assert message.anymail_status.message_id is None
    assert not sendgrid.requests


def test_an_envelope_sender_is_left_out_when_unsupported_features_are_ignored(
    sent: Sent, anymail: Change
) -> None:
    anymail(IGNORE_UNSUPPORTED_FEATURES=True)
    body = sent(django_message(envelope_sender="bounces@example.com"))
    assert body == {**SHARED_CONTENT, "personalizations": [personalization_to("ann@example.com")]}
