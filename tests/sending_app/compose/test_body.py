"""Each attribute of a message in SendGrid's words; nothing is sent that was not set."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.utils import timezone as django_timezone
from django.utils.functional import lazystr

from sending_app.compose import compose
from sending_app.exceptions import InvalidAddress, SerializationError, UnsupportedFeature
from sending_app.message import SendGridMessage
from tests.support.sending.composed_messages import CONTROL_CHARACTERS, body_of, composed, rules


def test_the_body_of_a_plain_mail_has_no_unset_fields() -> None:
    assert body_of() == {
        "from": {"email": "f@x.example"},
        "subject": "s",
        "content": [{"type": "text/plain", "value": "b"}],
    }


def test_all_attributes_appear_in_the_body() -> None:
    found = body_of(
        from_email="Fé <f@bücher.example>",
        subject=lazystr("sübject"),
        reply_to=["R <r@x.example>", "r2@x.example", "R@x.example"],
        headers={"X-A": 1},
        metadata={"order": 17, "vip": True, "ratio": 0.5, "name": lazystr("é")},
        tags=["a", "b", "a", 3],
        track_opens=True,
        track_clicks=False,
        send_at=1_800_000_000,
        template_id="d-1",
    )
    assert found == {
        "from": {"email": "f@xn--bcher-kva.example", "name": "Fé"},
        "reply_to_list": [{"email": "R@x.example"}, {"email": "r2@x.example"}],
        "subject": "sübject",
        "content": [{"type": "text/plain", "value": "b"}],
        "headers": {"X-A": "1"},
        "custom_args": {"order": "17", "vip": "True", "ratio": "0.5", "name": "é"},
        "categories": ["a", "b", "3"],
        "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": True}},
        "send_at": 1_800_000_000,
        "template_id": "d-1",
    }


def test_defaults_are_read_like_attributes() -> None:
    defaults = {
        "tags": ["all"],
        "metadata": {"app": "shop"},
        "track_opens": False,
        "reply_to": ["r@x.example"],
    }
    found = body_of(rules(send_defaults=defaults), tags=["one"], metadata={"order": 1})
    assert found["categories"] == ["all", "one"]
    assert found["custom_args"] == {"app": "shop", "order": "1"}
    assert found["tracking_settings"] == {"open_tracking": {"enable": False}}
    assert found["reply_to_list"] == [{"email": "r@x.example"}]


@pytest.mark.parametrize(
    "attributes",
    [
        {"subject": "", "body": ""},
        {"subject": None, "body": None},
        {"tags": [], "metadata": {}, "headers": {}, "reply_to": []},
        {"tags": None, "metadata": None, "track_opens": None, "send_at": None, "template_id": None},
        {"template_id": ""},
        {"esp_extra": {}},
    ],
)
def test_empty_attributes_are_left_out(attributes: dict[str, Any]) -> None:
    found = body_of(rules(ignore_unsupported=True), **attributes).keys()
    assert found <= {"from", "subject", "content"}
    assert not found & attributes.keys()


# The sender


def test_several_from_addresses_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="several addresses in from_email"):
        body_of(from_email="a@x.example, b@x.example")
    lenient = rules(ignore_unsupported=True)
    assert body_of(lenient, from_email="a@x.example, b@x.example")["from"] == {"email": "a@x.example"}


def test_an_empty_from_email_is_refused() -> None:
    message = EmailMessage("s", "b", to=["t@x.example"])
    message.from_email = ""
    with pytest.raises(InvalidAddress, match="no address in from_email"):
        compose(message, rules())


def test_an_envelope_sender_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="envelope_sender"):
        body_of(envelope_sender="bounces@x.example")
    assert body_of(rules(ignore_unsupported=True), envelope_sender="bounces@x.example") == body_of()


@pytest.mark.parametrize("field", ["from_email", "to", "cc", "bcc", "reply_to"])
def test_an_invalid_address_is_refused_and_its_field_named(field: str) -> None:
    value = "no address" if field == "from_email" else ["no address"]
    with pytest.raises(InvalidAddress, match=f"Invalid address 'no address' in {field}"):
        composed(**{field: value})


# The subject


@pytest.mark.parametrize("subject", ["two\nlines", "two\rlines", lazystr("one\r\n"), *CONTROL_CHARACTERS])
def test_a_subject_with_a_control_character_is_refused(subject: Any) -> None:
    for under in (rules(), rules(ignore_unsupported=True)):
        with pytest.raises(UnsupportedFeature, match="The subject has a line break or another control char"):
            body_of(under, subject=subject)


def test_a_subject_may_have_a_tab_and_any_length() -> None:
    subject = "a\tb\u00a0" + "x" * 1000
    assert body_of(subject=subject)["subject"] == subject


# Content


def content_of(body: str, subtype: str, *alternatives: tuple[Any, str]) -> list[tuple[str, str]]:
    message = SendGridMessage("s", body, "f@x.example", ["t@x.example"], alternatives=alternatives)
    message.content_subtype = subtype
    found = compose(message, rules()).mail.shared.body.get("content", [])
    return [(part["type"], part["value"]) for part in found]


def test_text_and_html_become_content() -> None:
    expected = [("text/plain", "t"), ("text/html", "<h>")]
    assert content_of("t", "plain", ("<h>", "text/html")) == expected
    assert content_of("", "plain", ("<h>", "text/html")) == expected[1:]
    assert content_of("<h>", "html") == expected[1:]


def test_b16_plain_text_comes_before_an_html_body() -> None:
    assert content_of("<h>", "html", ("t", "text/plain")) == [("text/plain", "t"), ("text/html", "<h>")]


def test_amp_stands_between_text_and_html_and_other_alternatives_follow() -> None:
    found = content_of(
        "t",
        "plain",
        ("BEGIN:VCALENDAR", "text/calendar"),
        ("<amp>", "text/x-amp-html"),
        ("<h>", "text/html"),
        (b"<h2 \xc3\xa9>", "TEXT/HTML"),
        ("", "text/markdown"),
    )
    assert found == [
        ("text/plain", "t"),
        ("text/x-amp-html", "<amp>"),
        ("text/html", "<h>"),
        ("text/html", "<h2 é>"),
        ("text/calendar", "BEGIN:VCALENDAR"),
    ]


def test_content_other_than_text_is_refused() -> None:
    with pytest.raises(SerializationError, match="The image/png content is not text"):
        content_of("t", "plain", (b"\x89PNG", "image/png"))
    with pytest.raises(SerializationError, match="surrogate"):
        content_of("t\ud83d", "plain")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("text/calendar; method=REQUEST", "text/calendar; method=REQUEST"),
        ('text/calendar; charset="UTF-8"; method=CANCEL', "text/calendar; method=CANCEL"),
        ("Text/Calendar;METHOD=request;name=invite.ics;component=VEVENT", "text/calendar; method=REQUEST"),
        ("text/calendar; charset=utf-8", "text/calendar"),
        ("text/html; charset=utf-8", "text/html"),
        ('text/directory; profile="vCard"', "text/directory"),
    ],
)
def test_the_method_of_a_calendar_is_kept_and_redundant_parameters_are_left_out(
    given: str, expected: str
) -> None:
    assert content_of("t", "plain", ("<h>", "text/html"), ("x", given))[-1] == (expected, "x")


@pytest.mark.parametrize(
    ("kind", "parameter"),
    [
        ("text/plain; charset=utf-8; format=flowed; delsp=yes", "delsp"),
        ("text/html; method=REQUEST", "method"),
        ("multipart/related; type=text/html", "type"),
        ("text/calendar; optinfo=x", "optinfo"),
    ],
)
def test_other_parameters_in_the_type_of_an_alternative_are_refused(kind: str, parameter: str) -> None:
    with pytest.raises(UnsupportedFeature, match=f"'{parameter}' in the type of an alternative"):
        content_of("t", "plain", ("x", kind))
    message = SendGridMessage("s", "", "f@x.example", ["t@x.example"], alternatives=[("x", kind)])
    found = compose(message, rules(ignore_unsupported=True)).mail.shared.body["content"]
    assert found == [{"type": kind.partition(";")[0], "value": "x"}]


@pytest.mark.parametrize("kind", ["text/html\r\nX-A: b", "html", "", "text/", "text/größe", 5, b"text/html"])
def test_the_type_of_an_alternative_must_be_a_mime_type(kind: Any) -> None:
    with pytest.raises(SerializationError, match=r"The type of an alternative is .* not a MIME type"):
        content_of("t", "plain", ("x", kind))


@pytest.mark.parametrize("alternative", [5, "x", ("x",), ("x", "text/html", "y"), None])
def test_an_alternative_of_another_shape_is_refused(alternative: Any) -> None:
    with pytest.raises(SerializationError, match=r"^alternatives holds a .*; it takes \(content, type\)"):
        composed(rules(send_defaults={"alternatives": [alternative]}))


# Metadata and tags


@pytest.mark.parametrize("value", [None, [], {}, ["a"]])
def test_b16_metadata_other_than_text_or_numbers_is_refused_by_name(value: Any) -> None:
    with pytest.raises(SerializationError, match=r"metadata\['order'\] is (None|a list|a dict)"):
        body_of(metadata={"order": value})


def test_metadata_named_anymail_id_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match=r"metadata\['anymail_id'\] has the name"):
        body_of(metadata={"anymail_id": "1"})
    with pytest.raises(UnsupportedFeature, match=r"merge_metadata\['t@x.example'\]\['anymail_id'\]"):
        composed(merge_metadata={"t@x.example": {"anymail_id": "1"}})
    untracked = rules(generate_message_id=False)
    assert body_of(untracked, metadata={"anymail_id": "1"})["custom_args"] == {"anymail_id": "1"}


def test_metadata_with_the_mark_of_our_own_events_is_refused() -> None:
    for has_message_ids in (True, False):
        with pytest.raises(UnsupportedFeature, match=r"metadata\['sendgrid_pipeline'\] has the name"):
            body_of(rules(generate_message_id=has_message_ids), metadata={"sendgrid_pipeline": "suppressed"})


def test_tags_over_the_limits_of_sendgrid_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="more than 10 tags"):
        body_of(tags=[str(number) for number in range(11)])
    with pytest.raises(UnsupportedFeature, match="a tag that is not ASCII"):
        body_of(tags=["größe"])
    with pytest.raises(UnsupportedFeature, match="longer than 255"):
        body_of(tags=["x" * 256])
    for tag in ("", "a\0b", "a\nb", "a\tb"):
        with pytest.raises(UnsupportedFeature, match="has control characters, is empty"):
            body_of(tags=[tag])
    with pytest.raises(SerializationError, match="tags is None"):
        body_of(tags=[None])


@pytest.mark.parametrize("value", ["yes", 1, []])
def test_tracking_other_than_true_or_false_is_refused(value: Any) -> None:
    with pytest.raises(SerializationError, match=r"track_opens is .*; it takes True and False"):
        body_of(open_tracking=value)


# Time

EAST = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (datetime(2027, 1, 15, 8, tzinfo=UTC), 1_800_000_000),
        (datetime(2027, 1, 15, 17, 0, 0, 999_999, tzinfo=EAST), 1_800_000_000),
        (datetime(2027, 1, 15, 17, 0, 0, 999_999, tzinfo=EAST).replace(tzinfo=None), 1_800_000_000),
        (date(2027, 1, 15), 1_799_938_800),
        (1_800_000_000, 1_800_000_000),
        (1_800_000_000.9, 1_800_000_000),
        (0, 0),
    ],
)
def test_send_at_accepts_datetimes_dates_and_numbers(given: Any, expected: int) -> None:
    with django_timezone.override(EAST):
        assert body_of(send_at=given)["send_at"] == expected


@pytest.mark.parametrize("given", ["2027-01-15", True, float("nan"), float("inf"), [1], [10**5000]])
def test_an_invalid_send_at_is_refused(given: Any) -> None:
    with pytest.raises(SerializationError, match=r"send_at is .*; it takes a datetime, a date, or a number"):
        body_of(send_at=given)


@pytest.mark.parametrize(
    "given",
    [
        *(1_800_000_000_000, 1_800_000_000_000.5, -(10**12), 1e30, 10**400),
        pytest.param(10**5000, id="more digits than Python writes"),
        *(datetime(1, 1, 1), date(9999, 12, 31)),  # noqa: DTZ001
    ],
)
def test_a_send_at_out_of_range_is_refused(given: Any) -> None:
    says = "send_at is in no year between 2 and 9998; a number is of seconds since 1970, not milliseconds"
    with django_timezone.override(EAST), pytest.raises(SerializationError, match=says):
        body_of(send_at=given)
