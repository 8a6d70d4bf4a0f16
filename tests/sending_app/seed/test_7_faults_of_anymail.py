"""What Anymail 15.1 got wrong of sending, shown at the wire not to be wrong here.

B10, B12 and B13 are shown in tests/sending_app/backends/test_direct.py and test_queued.py.
"""

from base64 import b64encode
from typing import Any

import pytest

from fake_sendgrid.server import FakeSendGrid
from sending_app.exceptions import SerializationError, UnsupportedFeature
from tests.support.sending.django_mail import SHARED_CONTENT, Sent, django_message, personalization_to

TWO = ["ann@example.com", "bob@example.com"]


def test_b1_the_content_type_of_a_text_file_has_no_charset(sent: Sent) -> None:
    message = django_message(
        attachments=[("a.csv", "ä;b", "text/csv; charset=utf-8"), ("b.txt", "b", "text/plain")]
    )
    assert sent(message)["attachments"] == [
        {"content": b64encode("ä;b".encode()).decode(), "filename": "a.csv", "type": "text/csv"},
        {"content": b64encode(b"b").decode(), "filename": "b.txt", "type": "text/plain"},
    ]


def test_b2_shared_custom_args_leave_each_recipient_its_message_id(sent: Sent) -> None:
    message = django_message(
        to=TWO, merge_data={}, esp_extra={"personalizations": {"custom_args": {"all": "1"}}}
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [
            personalization_to("ann@example.com", number=0, custom_args={"all": "1"}),
            personalization_to("bob@example.com", number=1, custom_args={"all": "1"}),
        ],
    }


def test_b3_merge_data_of_a_non_ascii_domain_is_found(sent: Sent, sendgrid: FakeSendGrid) -> None:
    written, wire = "jo@bücher.example", "jo@xn--bcher-kva.example"
    message = django_message(
        to=[written],
        merge_data={written: {"-name-": "Jo"}},
        merge_metadata={written: {"n": 1}},
        merge_headers={written: {"X-N": "1"}},
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "personalizations": [
            personalization_to(
                wire, substitutions={"-name-": "Jo"}, custom_args={"n": "1"}, headers={"X-N": "1"}
            ),
        ],
    }
    custom_args = sendgrid.accepted[0].body["personalizations"][0]["custom_args"]
    assert message.anymail_status.recipients[written].message_id == custom_args["anymail_id"]


@pytest.mark.parametrize("kind", ["cc", "bcc"])
def test_b4_a_mail_with_only_cc_or_bcc_raises_a_clear_error(
    sent: Sent, sendgrid: FakeSendGrid, kind: str
) -> None:
    with pytest.raises(UnsupportedFeature, match='without "to"'):
        sent(django_message(**{"to": [], kind: ["ann@example.com"]}))
    assert not sendgrid.requests


def test_b14_merge_headers_of_none_make_no_batch(sent: Sent) -> None:
    assert sent(django_message(to=TWO, merge_headers=None)) == {
        **SHARED_CONTENT,
        "personalizations": [personalization_to(*TWO)],
    }


def test_b14_numbers_in_merge_headers_are_sent_as_text(sent: Sent) -> None:
    body = sent(django_message(merge_headers={"ann@example.com": {"X-Number": 5}}))
    assert body["personalizations"] == [personalization_to("ann@example.com", headers={"X-Number": "5"})]


def test_b16_plain_text_comes_before_html(sent: Sent) -> None:
    message = django_message(body="<p>Hello</p>")
    message.content_subtype = "html"
    message.attach_alternative("Hello", "text/plain")
    assert sent(message)["content"] == [
        {"type": "text/plain", "value": "Hello"},
        {"type": "text/html", "value": "<p>Hello</p>"},
    ]


@pytest.mark.parametrize("value", [None, ["a"], {"a": 1}, object()])
def test_b16_metadata_other_than_text_or_numbers_is_refused_by_name(
    sent: Sent, sendgrid: FakeSendGrid, value: Any
) -> None:
    with pytest.raises(SerializationError, match="metadata"):
        sent(django_message(metadata={"kind": value}))
    assert not sendgrid.requests


def test_b16_a_bool_in_metadata_is_sent_as_text(sent: Sent) -> None:
    assert sent(django_message(metadata={"gift": False}))["custom_args"] == {"gift": "False"}
