"""What the seed takes for granted of every Anymail backend: attributes, send defaults, files, pictures."""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django.utils.translation import gettext_lazy

from sending_app.message import SendGridMessage, attach_inline_image, attach_inline_image_file
from tests.support.sending.django_mail import SHARED_CONTENT, Sent, django_message, personalization_to

Change = Callable[..., None]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)

#: SendGrid takes a mail up to 72 hours ahead.
SOON = datetime.now(UTC).replace(microsecond=900_000) + timedelta(hours=5)

ONE = [personalization_to("ann@example.com")]


@pytest.mark.parametrize(
    ("attributes", "more"),
    [
        ({"tags": ["orders", "tea", "orders"]}, {"categories": ["orders", "tea"]}),
        (
            {"metadata": {"order": 5, "sum": 2.5, "gift": True, "to": "Ann"}},
            {"custom_args": {"order": "5", "sum": "2.5", "gift": "True", "to": "Ann"}},
        ),
        ({"track_opens": True}, {"tracking_settings": {"open_tracking": {"enable": True}}}),
        ({"track_clicks": False}, {"tracking_settings": {"click_tracking": {"enable": False}}}),
        (
            {"open_tracking": False, "click_tracking": True},
            {"tracking_settings": {"open_tracking": {"enable": False}, "click_tracking": {"enable": True}}},
        ),
        ({"send_at": SOON}, {"send_at": int(SOON.timestamp())}),
        ({"send_at": SOON.timestamp()}, {"send_at": int(SOON.timestamp())}),
        (
            {"reply_to": ["Ann <ann@example.com>"]},
            {
                "reply_to_list": [
                    {"email": "ann@example.com", "name": "Ann"},
                ]
            },
        ),
        (
            {"reply_to": ["a@example.com"], "headers": {"REPLY-TO": "b@example.com, c@example.com"}},
            {"reply_to_list": [{"email": "b@example.com"}, {"email": "c@example.com"}]},
        ),
        (
            {"headers": {"X-Number": 5, "List-Unsubscribe": "<https://example.com/u>"}},
            {"headers": {"X-Number": "5", "List-Unsubscribe": "<https://example.com/u>"}},
        ),
        (
            {"from_email": '"Shop, The" <s@example.com>'},
            {
                "from": {
                    "email": "s@example.com",
                    "name": "Shop, The",
                }
            },
        ),
        ({"template_id": "d-1"}, {"template_id": "d-1"}),
        ({"tags": None, "metadata": None, "track_opens": None, "send_at": None}, {}),
        ({"tags": [], "metadata": {}, "headers": {}, "reply_to": []}, {}),
        (
            {"subject": gettext_lazy("Yes"), "tags": [gettext_lazy("No")]},
            {
                "subject": "Yes",
                "categories": ["No"],
            },
        ),
    ],
)
def test_each_message_attribute_is_sent(sent: Sent, attributes: dict[str, Any], more: dict[str, Any]) -> None:
    assert sent(django_message(**attributes)) == {**SHARED_CONTENT, **more, "personalizations": ONE}


def test_naive_send_at_values_are_in_djangos_current_time_zone(sent: Sent) -> None:
    tomorrow = SOON.date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time())
    with timezone.override("Asia/Tokyo"):
        expected = int(timezone.make_aware(midnight).timestamp())
        assert sent(django_message(send_at=midnight))["send_at"] == expected
        assert sent(django_message(send_at=tomorrow))["send_at"] == expected


def test_merge_metadata_adds_custom_args_for_each_recipient(sent: Sent) -> None:
    message = django_message(
        to=["ann@example.com", "bob@example.com"],
        metadata={"campaign": "tea"},
        merge_metadata={"ann@example.com": {"order": 5}, "bob@example.com": {"order": "6"}},
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "custom_args": {"campaign": "tea"},
        "personalizations": [
            personalization_to("ann@example.com", number=0, custom_args={"order": "5"}),
            personalization_to("bob@example.com", number=1, custom_args={"order": "6"}),
        ],
    }


def test_merge_headers_add_headers_for_each_recipient(sent: Sent) -> None:
    message = django_message(
        to=["ann@example.com", "bob@example.com"],
        headers={"X-All": "1"},
        merge_headers={"ann@example.com": {"List-Unsubscribe": "<https://example.com/a>"}},
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "headers": {"X-All": "1"},
        "personalizations": [
            personalization_to(
                "ann@example.com", number=0, headers={"List-Unsubscribe": "<https://example.com/a>"}
            ),
            personalization_to("bob@example.com", number=1),
        ],
    }


def test_all_attributes_are_keyword_arguments_of_the_message_class(sent: Sent) -> None:
    message = SendGridMessage(
        subject="Hello",
        body="It is on its way.",
        from_email="Shop <shop@example.com>",
        to=["ann@example.com"],
        cc=["cora@example.com"],
        reply_to=["help@example.com"],
        headers={"X-A": "a"},
        metadata={"m": 1},
        merge_data={"ann@example.com": {"name": "Ann"}},
        merge_metadata={"ann@example.com": {"n": 2}},
        merge_headers={"ann@example.com": {"X-B": "b"}},
        merge_global_data={"shop": "Tea"},
        tags=["t"],
        track_opens=True,
        track_clicks=False,
        send_at=SOON,
        template_id="5997fcf6",
        esp_extra={"merge_field_format": "-{}-", "batch_id": "B"},
    )
    message.attach_alternative("<p>Hello</p>", "text/html")
    assert sent(message) == {
        "from": {"email": "shop@example.com", "name": "Shop"},
        "subject": "Hello",
        "content": [
            {"type": "text/plain", "value": "It is on its way."},
            {"type": "text/html", "value": "<p>Hello</p>"},
        ],
        "reply_to_list": [{"email": "help@example.com"}],
        "headers": {"X-A": "a"},
        "custom_args": {"m": "1"},
        "categories": ["t"],
        "tracking_settings": {"open_tracking": {"enable": True}, "click_tracking": {"enable": False}},
        "send_at": int(SOON.timestamp()),
        "template_id": "5997fcf6",
        "batch_id": "B",
        "personalizations": [
            personalization_to(
                "ann@example.com",
                cc=[{"email": "cora@example.com"}],
                custom_args={"n": "2"},
                headers={"X-B": "b"},
                substitutions={"-shop-": "Tea", "-name-": "Ann"},
            )
        ],
    }


# Send defaults

DEFAULTS: dict[str, Any] = {
    "from_email": "default@example.com",
    "tags": ["all"],
    "metadata": {"a": "1", "b": "1"},
    "headers": {"X-A": "1"},
    "track_clicks": True,
    "reply_to": ["help@example.com"],
    "bcc": ["archive@example.com"],
}


def test_send_defaults_are_combined_with_message_attributes(sent: Sent, anymail: Change) -> None:
    anymail(SEND_DEFAULTS=DEFAULTS)
    message = django_message(
        from_email="own@example.com",
        tags=["own"],
        metadata={"b": "2", "c": "2"},
        headers={"X-B": "2"},
        track_clicks=False,
        reply_to=["own@example.com"],
    )
    assert sent(message) == {
        **SHARED_CONTENT,
        "from": {"email": "own@example.com"},
        "categories": ["all", "own"],
        "custom_args": {"a": "1", "b": "2", "c": "2"},
        "headers": {"X-A": "1", "X-B": "2"},
        "tracking_settings": {"click_tracking": {"enable": False}},
        "reply_to_list": [{"email": "help@example.com"}, {"email": "own@example.com"}],
        "personalizations": [personalization_to("ann@example.com", bcc=[{"email": "archive@example.com"}])],
    }


def test_none_on_the_message_cancels_a_default(sent: Sent, anymail: Change) -> None:
    anymail(SEND_DEFAULTS={"tags": ["all"], "metadata": {"a": "1"}, "track_clicks": True})
    assert sent(django_message(tags=None, metadata=None, track_clicks=None)) == {
        **SHARED_CONTENT,
        "personalizations": ONE,
    }


def test_sendgrid_send_defaults_replace_global_ones_of_the_same_name(sent: Sent, anymail: Change) -> None:
    anymail(
        SEND_DEFAULTS={"tags": ["all"], "metadata": {"a": "1"}},
        SENDGRID_SEND_DEFAULTS={"metadata": {"b": "1"}, "template_id": "d-1"},
    )
    assert sent(django_message()) == {
        **SHARED_CONTENT,
        "categories": ["all"],
        "custom_args": {"b": "1"},
        "template_id": "d-1",
        "personalizations": ONE,
    }


def test_default_merge_data_is_combined_by_recipient_one_level_deep(sent: Sent, anymail: Change) -> None:
    anymail(
        SEND_DEFAULTS={
            "merge_data": {"ann@example.com": {"-a-": "1", "-b-": "1"}},
            "merge_global_data": {"-all-": "1"},
        }
    )
    assert sent(django_message(merge_data={"ann@example.com": {"-b-": "2"}})) == {
        **SHARED_CONTENT,
        "personalizations": [
            personalization_to("ann@example.com", substitutions={"-all-": "1", "-a-": "1", "-b-": "2"}),
        ],
    }


# Files and pictures


def test_an_inline_image_is_attached_with_its_content_id(sent: Sent) -> None:
    message = django_message()
    content_id = attach_inline_image(message, PNG, "tea.png")
    message.attach_alternative(f'<img src="cid:{content_id}">', "text/html")
    message.attach("terms.txt", "Tea.", "text/plain")
    body = sent(message)
    assert body["attachments"] == [
        {
            "content": b64encode(PNG).decode(),
            "filename": "tea.png",
            "type": "image/png",
            "disposition": "inline",
            "content_id": content_id,
        },
        {"content": b64encode(b"Tea.").decode(), "filename": "terms.txt", "type": "text/plain"},
    ]
    assert body["content"][1]["value"] == f'<img src="cid:{content_id}">'


def test_an_inline_image_from_a_file_is_attached_with_its_content_id(sent: Sent, tmp_path: Path) -> None:
    (tmp_path / "tea.png").write_bytes(PNG)
    message = SendGridMessage("Hello", "It is on its way.", to=["ann@example.com"])
    first = message.attach_inline_image_file(tmp_path / "tea.png")
    second = attach_inline_image_file(message, str(tmp_path / "tea.png"))
    assert sent(message)["attachments"] == [
        {
            "content": b64encode(PNG).decode(),
            "filename": "tea.png",
            "type": "image/png",
            "disposition": "inline",
            "content_id": content_id,
        }
        for content_id in (first, second)
    ]
    assert first != second
