"""Headers are text, each stands once, and those SendGrid sets itself are refused."""

from typing import Any

import pytest

from sending_app.compose.body import RESERVED_HEADERS, checked_headers
from sending_app.exceptions import SerializationError, UnsupportedFeature
from tests.support.sending.composed_messages import CONTROL_CHARACTERS, body_of, composed, rules


def test_header_values_are_sent_as_text() -> None:
    found = body_of(
        headers={"X-Text": "é", "X-Int": 17, "X-Float": 1.5, "X-Bool": True, "Message-ID": "<a@b>"}
    )
    assert found["headers"] == {
        "X-Text": "é",
        "X-Int": "17",
        "X-Float": "1.5",
        "X-Bool": "True",
        "Message-ID": "<a@b>",
    }


def test_header_names_are_case_insensitive() -> None:
    found = body_of(rules(send_defaults={"headers": {"X-A": "1", "X-B": "1"}}), headers={"x-a": "2"})
    assert found["headers"] == {"x-a": "2", "X-B": "1"}


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS - {"reply-to", "to", "from"}))
def test_a_reserved_header_name_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedFeature, match=rf"headers\['{name.title()}'\]: it sets this header itself"):
        body_of(headers={name.title(): "x"})


@pytest.mark.parametrize("name", ["X Y", "X:Y", "X-é", "", "X-A\r\nB"])
def test_an_invalid_header_name_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedFeature, match="a header's name is ASCII without spaces and colons"):
        body_of(headers={name: "x"})


def test_a_header_may_have_a_tab() -> None:
    assert body_of(headers={"X-A": "a\tb"})["headers"] == {"X-A": "a\tb"}


@pytest.mark.parametrize("value", ["a\nBcc: b@x", "a\rb", "\x1b[0m", *CONTROL_CHARACTERS])
def test_a_header_with_a_line_break_or_another_control_character_is_refused(value: str) -> None:
    with pytest.raises(UnsupportedFeature, match=r"headers\['X-A'\]: a header has one line"):
        body_of(headers={"X-A": value})
    with pytest.raises(
        UnsupportedFeature, match=r"merge_headers\['t@x.example'\]\['X-A'\]: a header has one"
    ):
        composed(merge_headers={"t@x.example": {"X-A": value}})


@pytest.mark.parametrize("value", [None, [], {}])
def test_a_header_value_other_than_text_or_a_number_is_refused(value: Any) -> None:
    with pytest.raises(SerializationError, match=r"headers\['X-A'\] is "):
        body_of(headers={"X-A": value})


def test_ignored_unsupported_headers_are_left_out() -> None:
    lenient = rules(ignore_unsupported=True)
    assert checked_headers({"Received": "x", "X Y": "1", "X-A": "1", "X-B": "1\n"}, "headers", lenient) == {
        "X-A": "1"
    }


def test_empty_headers_are_left_out() -> None:
    assert "headers" not in body_of(headers={})


# Reply-To, From, To


@pytest.mark.parametrize("name", ["Reply-To", "reply-to", "REPLY-TO"])
def test_a_reply_to_header_overrides_the_attribute_and_is_not_sent_as_a_header(name: str) -> None:
    found = body_of(headers={name: "a@x.example, B <b@x.example>", "X-A": "1"}, reply_to=["c@x.example"])
    assert found["reply_to_list"] == [{"email": "a@x.example"}, {"email": "b@x.example", "name": "B"}]
    assert found["headers"] == {"X-A": "1"}


def test_an_empty_reply_to_header_leaves_the_attribute() -> None:
    found = body_of(headers={"Reply-To": None}, reply_to=["c@x.example"])
    assert found["reply_to_list"] == [{"email": "c@x.example"}]


def test_a_from_header_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match='"From" header'):
        body_of(headers={"from": "other@x.example"})
    found = body_of(rules(ignore_unsupported=True), headers={"from": "Other <other@x.example>"})
    assert found["from"] == {"email": "other@x.example", "name": "Other"}
    assert "headers" not in found


def test_a_to_header_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match=r'"To" header other than the recipients \("spoofing"\)'):
        body_of(headers={"To": "all@x.example"})
    assert "headers" not in body_of(rules(ignore_unsupported=True), headers={"To": "all@x.example"})
