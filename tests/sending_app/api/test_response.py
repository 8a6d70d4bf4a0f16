"""Whatever stands in an answer, somebody can read what it says, and nothing raises."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.api.response import Answer
from sending_app.exceptions import Outcome

SENDER = "The from address does not match a verified Sender Identity. Mail cannot be sent until resolved."


def answer(status: int, body: bytes, reset: str = "") -> Answer:
    return Answer(status, "What It Says", {"X-RateLimit-Reset": reset}, body)


def errors(*found: dict[str, object]) -> bytes:
    return json.dumps({"errors": found}).encode()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (errors({"message": "No.", "field": "to"}, {"message": "Nor this."}), "No. (to) Nor this."),
        (errors({"message": "A\nb \u0000 c\ud800d"}), "A b c d"),
        (errors({"message": "x" * 3000}), "x" * 2000),
        (errors({"message": None, "field": None}), '{"errors": [{"message": null, "field": null}]}'),
        (b'{"error": "authorization required"}', '{"error": "authorization required"}'),
        (b'{"errors": "text"}', '{"errors": "text"}'),
        (b'{"errors": [null, 1, "a"]}', '{"errors": [null, 1, "a"]}'),
        (b"[]", "[]"),
        (b"\0", "400 What It Says"),
        (errors({"message": "\0"}), "400 What It Says"),
        (b"", "400 What It Says: an empty answer"),
        (b" \r\n", "400 What It Says: an empty answer"),
        (b"\r\n<html>\n<h1>413</h1>", "400 What It Says: a page of HTML"),
        (b"upstream\nbroke", "upstream broke"),
        (b"\xff\xfe", "��"),
        (b"[" * 100_000, "[" * 2000),
        (b"9" * 10_000, "9" * 2000),
    ],
)  # fmt: skip
def test_detail_is_the_error_text_of_sendgrid(body: bytes, detail: str) -> None:
    assert answer(400, body).detail() == detail


def test_full_text_is_the_indented_response() -> None:
    assert answer(400, b'{"errors":[{"message":"No \xc3\xa9.","field":"from"}]}').full_text() == (
        '{\n  "errors": [\n    {\n      "message": "No é.",\n      "field": "from"\n    }\n  ]\n}'
    )


@pytest.mark.parametrize("depth", [300, 900, 5000, 100_000])
def test_a_deeply_nested_response_is_shown_unindented(depth: int) -> None:
    found = answer(400, b"[" * depth + b"]" * depth)
    assert found.detail() == (b"[" * depth + b"]" * depth)[:2000].decode()
    assert found.full_text().startswith("[")


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["errors", "message", "field"]), inner)
        ),
    ).map(lambda found: json.dumps(found).encode())
)
def test_no_response_body_raises(body: bytes) -> None:
    found = answer(403, body)
    assert found.outcome(had_whole_request=True) in (Outcome.FAILED, Outcome.PAUSED)
    for text in (found.detail(), found.full_text()):
        assert 0 < len(text) <= 2000
        text.encode()
        assert "\0" not in text
    assert "\n" not in found.detail()


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        ({"message": SENDER, "field": "from"}, True),
        ({"message": SENDER, "field": None}, True),
        ({"message": "No.", "field": "from.email"}, True),
        ({"message": "No.", "field": "personalizations.0.from.email"}, True),
        ({"message": "access forbidden", "field": None}, False),
        ({"message": "access forbidden from here"}, False),
        ({"message": None, "field": 3}, False),
    ],
)
def test_refuses_the_sender_recognizes_errors_of_the_from_address(
    error: dict[str, object], refused: bool
) -> None:
    assert answer(403, errors({"message": "Another."}, error)).refuses_the_sender() is refused


@pytest.mark.parametrize(
    ("reset", "least", "most"),
    [
        (lambda now: f"{now + 100:.0f}", 80, 101),
        (lambda now: f"{now + 10_000:.0f}", 600, 600),
        (lambda now: f"{now - 100:.0f}", 1, 1),
        (lambda now: "9" * 5000, 600, 600),
        (lambda now: "0", 1, 1),
    ],
)
def test_wait_is_read_from_the_rate_limit_reset(
    reset: Callable[[float], str], least: float, most: float
) -> None:
    wait = answer(429, b"", reset(time.time())).wait()
    assert wait is not None
    assert least <= wait <= most


@pytest.mark.parametrize("reset", ["", "soon", "-5", "nan", "1e9", "²"])
def test_wait_is_none_for_an_unusable_rate_limit_reset(reset: str) -> None:
    assert answer(429, b"", reset).wait() is None
    assert Answer(429, "", {}, b"").wait() is None
