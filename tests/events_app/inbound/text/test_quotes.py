"""The quoted mail is cut from a reply. A text without a recognized quote stays whole."""

import pytest

from events_app.inbound.text.quotes import MOST_LINES, without_quotes, without_quotes_html

INTRO = "On Thu, 12 Feb 2026 at 13:40, Zoë Customer <zoe@example.org> wrote:"


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Thanks!", "", INTRO, "> earlier", "> text"], ["Thanks!"]),
        (["Danke!", "Am 12.02.2026 schrieb Zoë:", "> vorher"], ["Danke!"]),
        (["Look:", "-----Original Message-----", "From: a"], ["Look:"]),
        (["Thanks!", "On Thu, 12 Feb 2026 at 13:40,", "Zoë <zoe@example.org> wrote:", "> x"], ["Thanks!"]),
        (["Thanks!", "> earlier", ">> text", ""], ["Thanks!"]),
        (
            ["> a question", "an answer", "> another", "an answer"],
            ["> a question", "an answer", "> another", "an answer"],
        ),
        (["no quote here", ""], ["no quote here"]),
        ([INTRO, "> earlier", "answer below"], [""]),
        (["", INTRO, "> earlier"], [""]),
        ([""], [""]),
    ],
)
def test_text_before_the_quote_is_kept(lines: list[str], expected: list[str], eol: str) -> None:
    assert without_quotes(eol.join(lines)) == eol.join(expected)


def test_a_long_text_without_a_quote_is_kept_whole() -> None:
    text = "line\n" * (MOST_LINES * 3) + "end"
    assert without_quotes(text) == text


def test_a_quote_beyond_the_search_limit_is_kept() -> None:
    text = "line\n" * MOST_LINES + INTRO + "\n> a\nb"
    assert without_quotes(text) == text


def test_a_long_line_is_kept() -> None:
    assert without_quotes("x" * 100_000 + "\n" + INTRO + "\n> a") == "x" * 100_000


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (
            f"<p>Thanks!</p><div>{INTRO.replace('<', '&lt;')}</div><blockquote>earlier</blockquote>",
            "<p>Thanks!</p>",
        ),
        ("<p>Thanks!</p>\r\n", "<p>Thanks!</p>"),
        ("<P CLASS=a>as it <b>is", "<P CLASS=a>as it <b>is"),
        ("", ""),
    ],
)
def test_html_is_cut_where_the_quote_begins(html: str, expected: str) -> None:
    assert without_quotes_html(html) == expected


@pytest.mark.parametrize("lines", [MOST_LINES - 2, MOST_LINES, MOST_LINES * 3])
def test_long_html_without_a_quote_is_kept_whole(lines: int) -> None:
    html = "<p>line</p>" * lines
    assert without_quotes_html(html) == html


def test_a_short_reply_above_long_quoted_html_is_kept_alone() -> None:
    html = "<p>Yes.</p><p>On 1 May, A wrote:</p>" + "<p>line</p>" * MOST_LINES * 2
    assert without_quotes_html(html) == "<p>Yes.</p>"


def test_html_over_the_size_limit_is_kept() -> None:
    html = "<p>Yes.</p><p>On 1 May, A wrote:</p>" + "<p>line</p>" * 100_000
    assert without_quotes_html(html) == html
