"""Whatever a caller wrote comes out the same after a way through JSON, or is refused with its place named."""

import json
from collections import UserDict
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import given

from sending_app.compose.plain import as_text, plain
from sending_app.exceptions import MailError, SerializationError
from tests.support.strategies import json_value


class Size(IntEnum):
    LARGE = 3


@given(json_value)
def test_json_values_are_unchanged(value: Any) -> None:
    found = plain(value, "merge_data")
    assert found == value
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lazystr("soon"), "soon"),
        (mark_safe("<b>"), "<b>"),
        (Size.LARGE, 3),
        (("a", 1), ["a", 1]),
        (UserDict({"a": lazystr("b")}), {"a": "b"}),
        ({lazystr("a"): [lazystr("b")], 7: mark_safe("c")}, {"a": ["b"], "7": "c"}),
        (mark_safe("é"), "é"),
    ],
)
def test_convertible_values_become_plain_json(value: Any, expected: Any) -> None:
    found = plain(value, "merge_data")
    assert found == expected
    assert type(found) is type(expected)


def test_plain_shares_nothing_with_the_caller() -> None:
    value: dict[str, Any] = {"a": {"b": [1]}}
    plain(value, "esp_extra")["a"]["b"].append(2)
    assert value == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [0, Decimal("1.5")]}, "merge_data['a'][1] is a Decimal, which JSON cannot express"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "merge_data['a'] is a datetime"),
        ({"a": b"x"}, "merge_data['a'] is a bytes"),
        ({"a": {1, 2}}, "merge_data['a'] is a set"),
        ({"a": float("nan")}, "merge_data['a'] is nan"),
        ([float("-inf")], "merge_data[0] is -inf"),
        ({"a": "\ud83d"}, "merge_data['a'] holds half of a surrogate pair"),
        ({"\ud83d": 1}, "merge_data holds half of a surrogate pair"),
        ({lazystr("a"): object()}, "merge_data['a'] is a object"),
        ({None: 1}, "merge_data has a key that is a NoneType, not text"),
        ({"a": [10**5000]}, "merge_data['a'][0] has more than 640 digits"),
        ({"a": -(10**5000)}, "merge_data['a'] has more than 640 digits"),
        ({"a": {10**5000: 1}}, "merge_data['a'] has a key with more than 640 digits"),
        ({True: 1}, "merge_data has a key that is a bool, not text"),
    ],
)
def test_a_value_that_is_not_serializable_is_refused_with_its_path(value: Any, says: str) -> None:
    with pytest.raises(SerializationError) as caught:
        plain(value, "merge_data")
    assert str(caught.value).startswith(says)
    assert isinstance(caught.value, MailError)
    assert isinstance(caught.value, TypeError)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(
        SerializationError, match=r"^esp_extra holds itself, or is nested deeper than 100 levels"
    ):
        plain(value, "esp_extra")


def test_the_depth_of_a_value_is_limited() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    assert plain(value, "merge_data") == value
    with pytest.raises(SerializationError, match=r"^merge_data holds itself, or is nested deeper"):
        plain({"a": value}, "merge_data")


def test_the_largest_numbers_are_written_and_read() -> None:
    value = [10**640 - 1, -(10**640) + 1, 2**64, {10**640 - 1: 0}]
    found = plain(value, "merge_data")
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    with pytest.raises(SerializationError, match=r"merge_data\[0\] has more than 640 digits"):
        plain([10**640], "merge_data")


@pytest.mark.parametrize(
    ("value", "expected"), [("x", "x"), ("", ""), (17, "17"), (1.5, "1.5"), (True, "True"), (False, "False")]
)
def test_text_converts_values_to_text(value: Any, expected: str) -> None:
    assert as_text(value, "metadata") == expected


@pytest.mark.parametrize(("value", "kind"), [(None, "None"), ([], "a list"), ({}, "a dict")])
def test_b16_values_other_than_text_or_numbers_are_refused(value: Any, kind: str) -> None:
    with pytest.raises(SerializationError, match=rf"metadata\['a'\] is {kind}; SendGrid takes text"):
        as_text(value, "metadata['a']")
