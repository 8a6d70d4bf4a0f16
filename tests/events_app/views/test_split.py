"""A body becomes its elements' bytes: nothing lost, nothing decoded, nothing raised but a refusal."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app.views.split import MOST_EVENTS, NotAnArray, TooMany, split
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import event_batch
from tests.support.strategies import any_value

space = st.text(" \t\r\n", max_size=3).map(str.encode)


def join(elements: list[bytes], space: bytes) -> bytes:
    return space + b"[" + space + (space + b"," + space).join(elements) + space + b"]" + space


def in_order(elements: list[bytes], body: bytes) -> bool:
    at = 0
    for element in elements:
        at = body.find(element, at)
        if at < 0:
            return False
        at += len(element)
    return True


def test_a_post_in_sendgrid_format_is_split_into_its_events() -> None:
    events = generate_events(50)
    elements = split(event_batch(events))
    assert [json.loads(element) for element in elements] == events
    assert not any(element[:1].isspace() or element[-1:].isspace() for element in elements)


@given(st.lists(any_value, max_size=8), space)
def test_elements_are_split_unchanged(values: list[object], space: bytes) -> None:
    written = [json.dumps(value).encode() for value in values]
    assert split(join(written, space)) == written


@given(st.lists(any_value, max_size=8), space)
def test_elements_in_utf_8_are_split_unchanged(values: list[object], space: bytes) -> None:
    # surrogatepass: lone surrogates are no UTF-8, and come all the same.
    written = [json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") for value in values]
    assert split(join(written, space)) == written


@given(st.binary(max_size=200) | st.text('[]{},:"\\u0019 \n-eNaN', max_size=60).map(str.encode))
@example(b"[\xff]")
@example(b"\xef\xbb\xbf[1]")
@example(b'["\xed\xa0\x80", 1]')
@example(b"[" * 100_000)
@example(b"[" + b"[" * 2000 + b"]" * 2000 + b"]")
@example(b'{"a":' * 100_000)
@example(b"[1" + b"0" * 5000 + b"]")
def test_any_bytes_are_split_or_refused(body: bytes) -> None:
    for post in (body, b"[" + body, b"[" + body + b"]"):
        try:
            assert in_order(split(post), post)
        except NotAnArray:
            assert not post.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"[")


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{}", b'{"events": []}', b"null", b"hello", b"\xff\xfe[\x00]\x00", b"\xef\xbb\xbf", b",[]"],
)
def test_a_body_that_does_not_begin_as_an_array_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnArray, match="not a JSON array"):
        split(body)


@pytest.mark.parametrize("body", [b"[]", b" [ ] \r\n", b"\xef\xbb\xbf[]"])
def test_an_empty_array_has_no_elements(body: bytes) -> None:
    assert split(body) == []


def test_a_byte_order_mark_is_skipped() -> None:
    assert split(b'\xef\xbb\xbf[{"a":1},\r\n2]\r\n') == [b'{"a":1}', b"2"]


@pytest.mark.parametrize(
    "element",
    [
        b'{"reason": NaN}',
        b'{"reason": -Infinity}',
        b'{"reason": "line\none\x00"}',
        b'{"reason": "\\ud83d"}',
        b'{"reason": "Empf\xe4nger"}',
        b'{"reason": "\xed\xa0\xbd"}',
    ],
    ids=["NaN", "infinity", "control", "surrogate", "latin-1", "surrogate in UTF-8"],
)
def test_an_element_that_strict_json_forbids_is_split_from_its_neighbours(element: bytes) -> None:
    assert split(b'[{"a": 1},\r\n' + element + b',\r\n{"b": [2, 3]}]\r\n') == [
        b'{"a": 1}',
        element,
        b'{"b": [2, 3]}',
    ]


@pytest.mark.parametrize("body", [b"[", b"[,]"])
def test_a_body_without_any_complete_element_is_kept_as_one(body: bytes) -> None:
    assert split(body) == [body]


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b'[{"a": 1}', [b'{"a": 1}']),
        (b'[{"a": 1},]', [b'{"a": 1}']),
        (b'[{"a": 1}] tail', [b'{"a": 1}', b"] tail"]),
        (b"[nonsense]", [b"nonsense]"]),
        (b'[{"a": 1} {"b": 2}]', [b'{"a": 1}', b'{"b": 2}']),
        (b"[" * 100_000, [b"[" * 99_999]),
        (b'[{"a": NaN}, {"b": ]', [b'{"a": NaN}', b'{"b": ]']),
    ],
    ids=["cut", "comma", "tail", "nonsense", "no comma", "deep", "NaN and cut"],
)
def test_a_malformed_array_keeps_its_elements(body: bytes, elements: list[bytes]) -> None:
    assert split(body) == elements


BROKEN = [
    b'{"a": tru}',
    b'{"a": "\\x41"}',
    b'{"a": "a "quote""}',
    b"{'a': 1}",
    b'{"a": 1',
    b'{"a": "no end',
    b'{"a": ' + b"[" * 20_000,
    b'{"a": ' + b"1" * 5000 + b"}",
    b"}",
    b'"',
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("end", [b",\r\n", b",\n"])
def test_a_broken_element_ends_where_the_next_event_begins(broken: bytes, end: bytes) -> None:
    first, last = b'{"event": "open"}', b'{"event": "click"}'
    assert split(b"[" + end.join([first, broken, last]) + b"]\r\n") == [first, broken, last]


@given(st.lists(st.one_of(st.sampled_from(BROKEN), st.binary(max_size=20)), max_size=8))
def test_no_element_hides_the_last_one(others: list[bytes]) -> None:
    last = b'{"event": "click"}'
    # Only what ends a line in a string that does not end can swallow the next event's beginning.
    safe = [other.replace(b"\n", b"") for other in others]
    assert split(b"[" + b",\r\n".join([*safe, last]) + b"]\r\n")[-1] == last


def test_untrusted_text_inside_a_broken_element_cannot_forge_an_event() -> None:
    forged = b'{"event": "click", "url": "https://a.example/},{\\"event\\":\\"bounce\\"}", "n": tru}'
    assert split(b"[" + forged + b"]") == [forged + b"]"]


def test_splitting_a_body_of_broken_elements_is_bounded() -> None:
    elements = split(b"[" + b",\r\n".join([b'{"'] * 5000) + b"]")
    assert len(elements) < 200
    assert elements[-1].endswith(b'{"]')


def test_numbers_keep_every_digit() -> None:
    number = b"1" * 5000
    assert split(b"[" + number + b", 1.0e5]") == [number, b"1.0e5"]
    assert math.isinf(float(number))


@pytest.mark.parametrize("element", [b"1", b"NaN"], ids=["strict JSON", "tolerated"])
def test_more_than_the_maximum_of_events_is_refused(element: bytes) -> None:
    assert len(split(b"[" + b",".join([element] * MOST_EVENTS) + b"]")) == MOST_EVENTS
    with pytest.raises(TooMany, match=f"more than the {MOST_EVENTS} events"):
        split(b"[" + b",".join([element] * (MOST_EVENTS + 1)) + b"]")
