"""A stranger's text on a line of ours."""

import pytest

from events_app.shared.escaping import one_line, printable, without_addresses

#: A line feed, a carriage return, an escape sequence, U+0085, U+2028, a bidirectional override, a surrogate.
HOSTILE = "a\nb\rc\x1b[31md\x85e\u2028f\u202eg\ud800"


def test_control_characters_are_escaped() -> None:
    assert one_line(HOSTILE) == r"a\nb\rc\x1b[31md\x85e\u2028f\u202eg\ud800"
    assert printable(f"{HOSTILE}\t") == "a\nb" + r"\rc\x1b[31md\x85e\u2028f\u202eg\ud800" + "\t"


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 東京 ✉"])
def test_printable_text_stays(text: str) -> None:
    assert one_line(text) == printable(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to ann@example.com, please", "to ***@example.com, please"),
        ("Key (recipient)=(ann+x@mail.example.com)", "Key (recipient)=(***@mail.example.com)"),
        ("/v3/suppression?email=ann%40example.com", "/v3/suppression?email=***%40example.com"),
        ("Jörg.Müller@bücher.example", "***@bücher.example"),
        ("mailto:ann@example.com <bob@example.com>", "mailto:***@example.com <***@example.com>"),
        ('Key (email)=("ann lee"@example.com)', "Key (email)=(***@example.com)"),
        ("ann.o'brien@example.com, 'bob@example.com'", "***@example.com, '***@example.com'"),
        (
            "?email=ann%2Bx%40example.com&to=bob%2540example.com",
            "?email=***%40example.com&to=***%2540example.com",
        ),
        ("from bounces+1-ann=example.com@em.example", "from ***@em.example"),
        ("e\u0301va@e\u0301.example, ann@सि.example", "***@e\u0301.example, ***@सि.example"),
        ("山田@例え。jp", "***@例え。jp"),
        (r'{"to": "j\u00f6rg@b\u00fccher.example"}', r'{"to": "***@b\u00fccher.example"}'),
        ("ann@[192.0.2.1]", "***@[192.0.2.1]"),
        ("worker@host ready.", "worker@host ready."),
        ("redis://:pa55@redis.example.com/0", "redis://:***@redis.example.com/0"),
    ],
)
def test_addresses_are_masked(text: str, masked: str) -> None:
    assert without_addresses(text) == masked


@pytest.mark.parametrize(
    "repeated",
    ["a", "a@", "@b-", '"', '"@', '\\"', "a'", "a+", "a=", "a+=", "a.", "%40", "%25", "\\", "é", "@。"],
)
def test_masking_takes_linear_time(repeated: str) -> None:
    # Hours, if quadratic.
    without_addresses(repeated * 100_000 + " @")
