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
    assert answer(400, body).refused_personalizations() is None or found.errors
    for text in (found.detail(), found.full_text()):
        assert 0 < len(text) <= 2000
        text.encode()
        assert "\0" not in text
    assert "\n" not in found.detail()


@pytest.mark.parametrize(
    ("error", "named"),
    [
        ({"message": SENDER, "field": "from"}, True),
        ({"message": SENDER, "field": None}, True),
        ({"message": "No.", "field": "from.email"}, True),
        ({"message": "No.", "field": "personalizations.0.from.email"}, True),
        ({"message": "No.", "field": "custom_args"}, True),
        ({"message": "Invalid UTF8 in request", "field": None}, True),
        ({"message": "You do not have access to this template", "field": None}, True),
        ({"message": "personalizations.3.dynamic_template_data must be an object"}, True),
        ({"message": "bad dynamic_template_data", "field": None}, True),
        ({"message": "access forbidden", "field": None}, False),
        ({"message": "access forbidden from here"}, False),
        ({"message": "Content-Type should be application/json.", "field": "Content-Type"}, False),
        ({"message": None, "field": 3}, False),
    ],
)
@pytest.mark.parametrize("status", [403, 404, 405, 406, 415, 451])
def test_an_error_that_names_the_mail_does_not_pause_the_account(
    status: int, error: dict[str, object], named: bool
) -> None:
    found = answer(status, errors({"message": "Another."}, error))
    assert found.names_the_mail() is named
    assert found.outcome(had_whole_request=True) is (Outcome.FAILED if named else Outcome.PAUSED)


@pytest.mark.parametrize("status", [401, 407, 429])
def test_a_key_a_proxy_login_and_a_rate_limit_are_always_about_the_account(status: int) -> None:
    body = errors({"message": SENDER, "field": "from"})
    assert answer(status, body).outcome(had_whole_request=True) is Outcome.PAUSED


WRONG = "Does not contain a valid address."


@pytest.mark.parametrize(
    ("status", "found", "refused"),
    [
        (400, [{"message": WRONG, "field": "personalizations.99.to.0.email"}], {99}),
        (400, [{"message": WRONG, "field": f"personalizations.{n}.to.0.email"} for n in (0, 7)], {0, 7}),
        (400, [{"message": WRONG, "field": "personalizations[12].to"}], {12}),
        (400, [{"message": "We found [a@b.c] in the personalizations.3.to field.", "field": None}], {3}),
        (400, [{"message": "In personalizations.3.to", "field": "personalizations.5.to"}], {5}),
        (400, [{"message": WRONG, "field": "personalizations.1000.to"}], set()),
        (400, [{"message": WRONG, "field": None}], set()),
        (400, [{"message": WRONG}, {"message": WRONG, "field": "personalizations.2"}], {2}),
        (400, [{"message": WRONG, "field": "personalizations"}], set()),
        (400, [{"message": WRONG, "field": "email"}], set()),
        (400, [{"message": "Too long.", "field": "custom_args"}], set()),
        (400, [{"message": "Bad Request", "field": None}], set()),
        (400, [{"message": "personalizations.3.dynamic_template_data must be an object"}], {3}),
        (400, [{"message": "bad dynamic_template_data", "field": None}], set()),
        (400, [{"message": "The template_id must be a valid GUID", "field": None}], None),
        (415, [{"message": "Invalid UTF8 in request", "field": None}], set()),
        (403, [{"message": SENDER, "field": "personalizations.4.from.email"}], {4}),
        (400, [{"message": "No.", "field": "subject"}], None),
        (400, [{"message": "No.", "field": "content.0.value"}], None),
        (400, [{"message": WRONG, "field": "personalizations.2.to"}, {"field": "from.email"}], None),
        (400, [{"message": SENDER, "field": None}], None),
        (403, [{"message": SENDER, "field": None}], None),
        (403, [{"message": "No.", "field": "personalizations"}], None),
        (400, [], None),
    ],
)  # fmt: skip
def test_a_refusal_names_personalizations_or_none_or_is_about_shared_content(
    status: int, found: list[dict[str, object]], refused: set[int] | None
) -> None:
    assert answer(status, errors(*found)).refused_personalizations() == refused


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
