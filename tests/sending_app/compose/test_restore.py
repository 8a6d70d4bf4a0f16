"""What the outbox keeps becomes a message again, and that is composed to the same mail."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sending_app.compose import compose
from sending_app.compose.restore import restore
from sending_app.message import SendGridMessage
from tests.support.sending.composed_messages import composed, rules


def restored(**attributes: Any) -> SendGridMessage:
    mail = composed(**attributes).mail
    return restore(mail.shared, mail.personalizations)


def test_a_message_is_restored() -> None:
    message = restored(
        from_email='"F, Inc." <f@x.example>',
        to=["T <t@bücher.example>", "u@x.example"],
        cc=["c@x.example"],
        bcc=["d@x.example"],
        reply_to=["R <r@x.example>"],
        headers={"X-A": 1},
        alternatives=[("<h>", "text/html"), ("<amp>", "text/x-amp-html")],
        attachments=[("a.txt", "a", "text/plain")],
        metadata={"a": 1},
        tags=["a"],
        track_opens=True,
        track_clicks=False,
        send_at=1_800_000_000,
        template_id="d-1",
        merge_global_data={"g": 1},
        esp_extra={"asm": {"group_id": 1}},
    )
    assert (message.subject, message.body, message.content_subtype) == ("s", "b", "plain")
    assert message.from_email == '"F, Inc." <f@x.example>'
    assert message.to == ["T <t@xn--bcher-kva.example>", "u@x.example"]
    assert (message.cc, message.bcc, message.reply_to) == (
        ["c@x.example"],
        ["d@x.example"],
        ["R <r@x.example>"],
    )
    assert message.extra_headers == {"X-A": "1"}
    assert [tuple(one) for one in message.alternatives] == [
        ("<amp>", "text/x-amp-html"),
        ("<h>", "text/html"),
    ]
    assert message.attachments == []
    assert (message.metadata, message.tags) == ({"a": "1"}, ["a"])
    assert (message.track_opens, message.track_clicks) == (True, False)
    assert message.send_at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert message.template_id == "d-1"
    assert message.merge_global_data == {"g": 1}
    assert message.esp_extra is not None
    assert message.esp_extra["asm"] == {"group_id": 1}
    assert not hasattr(message, "merge_data")


def test_one_request_of_a_batch_is_restored() -> None:
    mail = composed(
        to=["a@x.example", "b@x.example", "c@x.example"],
        cc=["d@x.example"],
        template_id="d-1",
        merge_data={"a@x.example": {"n": 1}, "c@x.example": {"n": 3}},
        merge_metadata={"b@x.example": {"m": 2}},
    ).mail
    message = restore(mail.shared, mail.personalizations[:2])
    assert (message.to, message.cc) == (["a@x.example", "b@x.example"], ["d@x.example"])
    assert message.merge_data == {"a@x.example": {"n": 1}, "b@x.example": {}}
    assert message.merge_metadata == {"a@x.example": {}, "b@x.example": {"m": "2"}}
    assert not hasattr(message, "merge_headers")


def test_an_html_body_is_restored_before_its_amp_alternative() -> None:
    again = restored(body="", alternatives=[("<amp>", "text/x-amp-html"), ("<h>", "text/html")])
    assert (again.body, again.content_subtype) == ("<h>", "html")
    assert [tuple(one) for one in again.alternatives] == [("<amp>", "text/x-amp-html")]


def test_the_method_of_a_calendar_is_restored() -> None:
    invitation = ("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")
    assert [tuple(one) for one in restored(alternatives=[invitation]).alternatives] == [invitation]


@pytest.mark.parametrize("subtype", ["plain", "html"])
def test_a_message_with_one_content_is_restored(subtype: str) -> None:
    message = SendGridMessage("s", "b", "f@x.example", ["t@x.example"])
    message.content_subtype = subtype
    mail = compose(message, rules()).mail
    again = restore(mail.shared, mail.personalizations)
    assert (again.body, again.content_subtype, again.alternatives) == ("b", subtype, [])


def test_a_message_with_only_a_template_is_restored() -> None:
    message = restored(subject="", body="", template_id="d-1")
    assert (message.subject, message.body) == ("", "")


TWO = ["A <a@x.example>", "b@x.example"]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"to": TWO, "cc": ["c@x.example"]},
        {"from_email": "a..b.@localhost", "reply_to": ['R <"r..r"@x.example>']},
        {"to": ['A <"a..b"@x.example>', "o @x.example"], "merge_metadata": {'"a..b"@x.example': {"n": 1}}},
        {"to": TWO, "merge_data": {}},
        {"to": TWO, "merge_data": {"a@x.example": {"n": [1]}}, "template_id": "d-1"},
        {"to": TWO, "merge_data": {"a@x.example": {"n": 1}}, "esp_extra": {"merge_field_format": "-{}-"}},
        {
            "to": TWO,
            "merge_headers": {"a@x.example": {"X-N": 1}},
            "merge_metadata": {"b@x.example": {"n": 1}},
        },
        {"merge_global_data": {"g": [1]}, "esp_extra": {"use_dynamic_template": True}},
        {"merge_global_data": {"-g-": 1}, "template_id": "d-1", "esp_extra": {"use_dynamic_template": False}},
        {
            "track_opens": False,
            "esp_extra": {"tracking_settings": {"open_tracking": {"substitution_tag": "%"}}},
        },
        {"esp_extra": {"personalizations": {"future": {"a": 1}}, "reply_to": {"email": "r@x.example"}}},
        {
            "esp_extra": {
                "personalizations": [{"to": [{"email": "a@x.example", "name": "A"}], "subject": "x"}]
            }
        },
        {"send_at": 0, "metadata": {"a": 1}, "tags": ["a"], "headers": {"X-A": "1"}, "reply_to": TWO},
        {"reply_to": ["A <support+{message_id}@x.example>"]},
        {"body": "", "alternatives": [("BEGIN", "text/calendar")]},
        {"body": "", "alternatives": [("<1>", "text/html"), ("<2>", "text/html"), ("t", "text/plain")]},
    ],
)
def test_a_restored_message_is_composed_to_the_same_mail(attributes: dict[str, Any]) -> None:
    first = composed(**attributes).mail
    again = compose(restore(first.shared, first.personalizations), rules()).mail
    assert again.shared == first.shared
    assert [replace(one, id="") for one in again.personalizations] == [
        replace(one, id="") for one in first.personalizations
    ]
    assert again.is_batch == first.is_batch
