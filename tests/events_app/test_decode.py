"""Any bytes become an object or Unreadable; copies share a key, and other facts have another."""

import json
import math
import random
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.decode import (
    MAX_DEPTH,
    Unreadable,
    decode_object,
    dedupe_key,
    event_id,
    happened_at,
    raw_key,
    time_bytes,
)
from events_app.shared import own_events
from events_app.shared.database import clean
from tests.support.strategies import any_object, any_text

PAYLOADS = Path(__file__).parent.parent / "payloads" / "events.json"
RAW: dict[str, dict[str, Any]] = {case["case"]: case["raw"] for case in json.loads(PAYLOADS.read_bytes())}

ADDRESS = "mira.okafor@example.net"


# decode


@pytest.mark.parametrize("name", RAW)
def test_decode_reads_sendgrid_events(name: str) -> None:
    assert decode_object(json.dumps(RAW[name]).encode()) == RAW[name]
    assert decode_object(json.dumps(RAW[name], ensure_ascii=False).encode()) == RAW[name]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"reason": "line\none\x00\x1b"}', "line\none\x00\x1b"),
        (b'{"reason": "\\ud83d alone"}', "\ud83d alone"),
        (b'{"reason": "\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"reason": "Empf\xe4nger"}', "Empf\udce4nger"),
        (b'{"reason": -Infinity}', float("-inf")),
        (b'{"reason": 1e999}', float("inf")),
        (b'{"reason": 123456789012345678901234567890}', 123456789012345678901234567890),
        (b' \r\n{"reason": 1, "reason": 2}\r\n', 2),
    ],
    ids=["control", "lone surrogate", "pair", "latin-1", "infinity", "huge float", "huge int", "key twice"],
)
def test_decode_tolerates_values_that_strict_json_forbids(raw: bytes, expected: object) -> None:
    assert decode_object(raw) == {"reason": expected}


def test_decode_tolerates_nan() -> None:
    assert math.isnan(decode_object(b'{"reason": NaN}')["reason"])


def test_different_undecodable_ids_have_different_dedupe_keys() -> None:
    one, other = (decode_object(b'{"sg_event_id": "' + byte + b'"}') for byte in (b"\xe4", b"\xe5"))
    assert dedupe_key(one) != dedupe_key(other)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is not JSON: reading stopped at character 0 of 0."),
        (b'{"email": "' + ADDRESS.encode(), "is not JSON: reading stopped at character 10 of 34."),
        (b"{} {}", "is not JSON: reading stopped at character 3 of 5."),
        (b"\xff\xfe{\x00}\x00", "is not JSON"),
        (b'["' + ADDRESS.encode() + b'"]', "is JSON, but an array and not an object."),
        (b'"' + ADDRESS.encode() + b'"', "is JSON, but a string and not an object."),
        (b"null", "is JSON, but null and not an object."),
        (b"true", "is JSON, but true or false and not an object."),
        (b"17", "is JSON, but a number and not an object."),
        (b"NaN", "is JSON, but a number and not an object."),
        (b'{"n": ' + b"9" * 5000 + b"}", "holds a number of more digits than Python reads."),
        (b'{"n": ' * 100_000, "nests deeper than 100 levels."),
        (b'{"n": ' * 100_000 + b"1" + b"}" * 100_000, "nests deeper than 100 levels."),
        (b"[" * 100_000, "nests deeper than 100 levels."),
    ],
)
def test_an_unreadable_element_raises_an_error_with_a_reason(raw: bytes, says: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode_object(raw)
    assert str(caught.value).startswith(f"The element {says}")


def test_the_error_of_an_unreadable_element_leaks_no_payload() -> None:
    """Error trackers print the chain of errors, and a UnicodeDecodeError carries the payload."""
    with pytest.raises(Unreadable) as caught:
        decode_object(b'{"email": "' + ADDRESS.encode() + b'\xe4"')
    assert ADDRESS not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("opens", "closes"), [(b'{"n":', b"}"), (b'{"n":[', b"]}")])
def test_the_nesting_limit_is_the_same_on_every_python(opens: bytes, closes: bytes) -> None:
    times = MAX_DEPTH // len(closes)
    assert dedupe_key(decode_object(opens * times + b'"{["' + closes * times), "content")
    with pytest.raises(Unreadable):
        decode_object(opens * (times + 1) + b"1" + closes * (times + 1))


def test_many_brackets_are_not_counted_as_nesting() -> None:
    assert decode_object(json.dumps({"a": "[{" * 500, "b": [[], {}] * 500}).encode())["a"] == "[{" * 500


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_unreadable(raw: bytes) -> None:
    try:
        assert isinstance(decode_object(raw), dict)
    except Unreadable:
        assert len(raw_key(raw)) == 16


@given(any_object, st.binary(min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_no_broken_json_raises_anything_but_unreadable(
    event: dict[str, Any], noise: bytes, where: random.Random
) -> None:
    raw = json.dumps(event, ensure_ascii=where.choice([True, False])).encode("utf-8", "surrogatepass")
    at = where.randrange(len(raw))
    with suppress(Unreadable):
        assert isinstance(decode_object(raw[:at] + noise + raw[at + where.randrange(3) :]), dict)


@given(any_object)
def test_any_json_object_decodes_like_the_json_module(event: dict[str, Any]) -> None:
    text = json.dumps(event)
    assert repr(decode_object(text.encode())) == repr(json.loads(text))


# clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a\0b\0", "ab"),
        ("é \U0001f600\n\t\x1b", "é \U0001f600\n\t\x1b"),
        ("\ud83d x \udc80", "� x �"),
        ("\0é\udfff", "é�"),
    ],
)
def test_clean_drops_nul_and_replaces_surrogates(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(any_text)
def test_cleaned_text_is_storable_and_clean_is_idempotent(text: str) -> None:
    cleaned = clean(text)
    assert b"\0" not in cleaned.encode()
    assert clean(cleaned) == cleaned


# keys


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        ("aB==", "aB=="),
        (" aB ", " aB "),
        (17, "17"),
        ("", None),
        (None, None),
        (True, None),
        (1.5, None),
        ([], None),
    ],
)
def test_event_id_is_the_cleaned_sendgrid_event_id(given_id: object, expected: str | None) -> None:
    assert event_id({"sg_event_id": given_id}) == expected


def test_event_id_is_none_for_an_event_without_an_id() -> None:
    assert event_id(RAW["legacy_newsletter_unsubscribe_no_ids"]) is None


def test_dedupe_keys_are_stable_across_versions() -> None:
    """Keys are stored: another key for the same event stores it, and calls receivers, again."""
    event = {"sg_event_id": "Ab-_9", "event": "open", "timestamp": 1784000000}
    assert dedupe_key(event).hex() == "6a55ae009be917ba015c34e718343fa1"
    assert dedupe_key(event, "content").hex() == "6a55ae005039657bae279551a1f55201"
    assert raw_key(b"17").hex() == "00000000d2b80fd387627b5d8dd3e83c"


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        (1784000000, 1784000000),
        (1784000000.0, 1784000000),
        (1784000000.9999999, 1784000001),  # the stored time has microseconds
        (1784000000.999999, 1784000000),
        (" 1784000000 ", 1784000000),
        ("1784000000.5", 1784000000),
        (1784000000123, 1784000000),
        (0, 0),
        (2**32 - 1, 2**32 - 1),
        (2**32, 0),
        (253402300799, 253402300),  # milliseconds
        (10**30, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (-1, 0),
        (True, 0),
        (None, 0),
        ("today", 0),
        ([1784000000], 0),
    ],
)
def test_a_key_begins_with_the_second_of_the_event(timestamp: object, seconds: int) -> None:
    event = {"sg_event_id": "A1", "timestamp": timestamp}
    for by in ("event_id", "content"):
        assert dedupe_key(event, by)[:4] == seconds.to_bytes(4)
    assert dedupe_key({"sg_event_id": "A1"})[:4] == dedupe_key({})[:4] == raw_key(b"")[:4] == bytes(4)


@given(any_object, st.integers(0, 2**34) | st.floats() | st.text("0123456789. ", max_size=14) | st.booleans())
def test_the_time_of_a_key_is_the_time_of_the_column(event: dict[str, Any], timestamp: object) -> None:
    """A migration made keys from the column, and a repeat must still have the same key."""
    event = {**event, "timestamp": timestamp}
    at = happened_at(event)
    stored = at and datetime.fromisoformat(at.isoformat(timespec="microseconds"))
    for by in ("event_id", "content"):
        assert dedupe_key(event, by)[:4] == time_bytes(stored)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2), st.text(), st.text())
def test_keys_are_in_the_order_of_the_events(seconds: list[int], one: str, other: str) -> None:
    first, second = sorted(seconds)
    if first < second:
        earlier, later = {"sg_event_id": one, "timestamp": first}, {"sg_event_id": other, "timestamp": second}
        assert dedupe_key(earlier) < dedupe_key(later)


@given(st.integers(0, 2**33), st.integers(0, 2**33))
def test_an_event_of_ours_may_come_again_at_another_time(one: int, other: int) -> None:
    ours = {"sg_event_id": "unsubscribe-1", own_events.MARK: own_events.UNSUBSCRIBED}
    assert dedupe_key({**ours, "timestamp": one}) == dedupe_key({**ours, "timestamp": other})


def test_duplicate_events_share_their_dedupe_key() -> None:
    first, second = RAW["duplicate_same_event_id_first"], RAW["duplicate_same_event_id_second"]
    assert dedupe_key(first) == dedupe_key(second)


def test_duplicate_events_under_two_ids_share_their_key_by_content_only() -> None:
    first, second = RAW["duplicate_new_event_id_first"], RAW["duplicate_new_event_id_second_unverified"]
    assert dedupe_key(first) != dedupe_key(second)
    assert dedupe_key(first, "content") == dedupe_key(second, "content")


@pytest.mark.parametrize("by", ["event_id", "content"])
def test_different_sample_events_have_different_dedupe_keys(by: str) -> None:
    twins = {
        "event_id": {"duplicate_same_event_id_second"},
        "content": {"duplicate_same_event_id_second", "duplicate_new_event_id_second_unverified"},
    }
    singles = [raw for name, raw in RAW.items() if name not in twins[by]]
    assert len({dedupe_key(raw, by) for raw in singles}) == len(singles)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"sg_event_id": "abc"}, {"sg_event_id": "abC"}),
        ({"sg_event_id": "abc"}, {"sg_event_id": "abc "}),
        ({"sg_event_id": "\ud800"}, {"sg_event_id": "\ud801"}),
        ({"n": 1}, {"n": "1"}),
        ({"n": 1}, {"n": True}),
        ({"n": None}, {}),
        ({"n": {"a": 1}}, {"n": {"a": 2}}),
        ({"n": [1, 2]}, {"n": [2, 1]}),
        ({"sg_event_id": '{"n":1}'}, {"n": 1}),
    ],
)
def test_events_that_differ_anywhere_have_different_dedupe_keys(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert dedupe_key(one) != dedupe_key(other)


def test_an_integer_id_and_its_text_share_a_dedupe_key() -> None:
    assert dedupe_key({"sg_event_id": 17}) == dedupe_key({"sg_event_id": "17", "event": "open"})


def test_an_empty_id_is_treated_as_missing() -> None:
    assert (
        dedupe_key({"sg_event_id": "", "n": 1})
        == dedupe_key({"n": 1})
        != dedupe_key({"sg_event_id": "", "n": 2})
    )


def test_dedupe_keys_of_different_kinds_never_collide() -> None:
    event = {"n": 1}
    text = json.dumps(event, separators=(",", ":"))
    assert len({dedupe_key(event), dedupe_key({"sg_event_id": text}), raw_key(text.encode())}) == 3


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key], order) for key in order.sample(list(value), len(value))}
    return [_shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(any_object, st.sampled_from(["event_id", "content"]), st.randoms(use_true_random=False))
def test_key_order_and_white_space_do_not_change_a_dedupe_key(
    event: dict[str, Any], by: str, order: random.Random
) -> None:
    key = dedupe_key(decode_object(json.dumps(event, separators=(",", ":")).encode()), by)
    again = json.dumps(_shuffled(event, order), indent=order.randrange(4)).encode()
    assert dedupe_key(decode_object(again), by) == key
    assert len(key) == 16
