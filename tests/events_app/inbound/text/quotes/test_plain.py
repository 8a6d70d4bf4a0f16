"""The quoted mail is left out of a reply's text. The new words stay, wherever these stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.quotes import MOST_LINES, MOST_QUOTED_LINES, without_quotes

INTRO = "On Thu, 12 Feb 2026 at 13:40, Zoë Customer <zoe@example.org> wrote:"
BLOCK = [
    "From: Zoë <zoe@example.org>",
    "Sent: Thursday, 12 February 2026 13:40",
    "To: Desk",
    "Subject: Order",
]


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
            ["Thanks!", "", "> On 12 Feb 2026, at 13:40, Zoë <zoe@example.org> wrote:", "> ", "> x"],
            ["Thanks!"],
        ),
        (["no quote here", ""], ["no quote here"]),
        (["", INTRO, "> earlier"], [""]),
        (["> earlier", ">", "> text"], [""]),
        ([*BLOCK, "", "earlier"], [""]),
        (["____________________", *BLOCK, "", "earlier"], [""]),
        (["Look:", *BLOCK, "", "    an indented line", "earlier"], ["Look:"]),
        ([""], [""]),
    ],
    ids=repr,
)
def test_the_words_above_a_quote_stay(lines: list[str], expected: list[str], eol: str) -> None:
    assert without_quotes(eol.join(lines)) == eol.join(expected)


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([INTRO, "> earlier", "answer below"], ["answer below"]),
        ([INTRO, "", "> earlier", ">", "", "> text", "", "answer", "", "Bob"], ["answer", "", "Bob"]),
        (["Hello Zoë,", "", INTRO, "> earlier", "", "answer"], ["Hello Zoë,", "", "answer"]),
        ([INTRO, ">> oldest", "> earlier", "", "answer", "", "> rest"], ["answer"]),
        (["> On 12 Feb 2026, at 13:40, Zoë <zoe@example.org> wrote:", "> earlier", "", "answer"], ["answer"]),
        ([INTRO, "> earlier", "", "answer", "", *BLOCK, "", "old"], ["answer"]),
        ([INTRO, "> earlier", "", "answer", "-- ", "Bob"], ["answer", "-- ", "Bob"]),
        ([*BLOCK, "", "> earlier", "", "answer"], ["answer"]),
    ],
    ids=repr,
)
def test_the_words_below_a_quote_stay(lines: list[str], expected: list[str], eol: str) -> None:
    assert without_quotes(eol.join(lines)) == eol.join(expected)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["> a question", "an answer", "> another", "an answer"],
            ["> a question", "an answer", "> another", "an answer"],
        ),
        (["> a question", "an answer"], ["> a question", "an answer"]),
        (["First:", "> a question", "an answer", "> rest", ">"], ["First:", "> a question", "an answer"]),
        (
            [INTRO, "> a question", "an answer", "", "> another", "", "an answer", "", "> rest"],
            ["> a question", "an answer", "", "> another", "", "an answer"],
        ),
        (
            ["> a question", "yes", ">", "> Zoë", ">", f"> {INTRO}", "> > rest", "", "Bob"],
            ["> a question", "yes", ">", "> Zoë", ">", f"> {INTRO}", "> > rest", "", "Bob"],
        ),
        (
            ["See below.", "", INTRO, "", "> a question", "yes", "> another", "no"],
            ["See below.", "", "> a question", "yes", "> another", "no"],
        ),
        (
            [INTRO, "> a question", "yes", "Am 12.02.2026 um 14:00 schrieb Zoë:", "> another", "no"],
            ["> a question", "yes", "", "> another", "no"],
        ),
    ],
    ids=repr,
)
def test_answers_between_quoted_lines_stay_with_the_lines(lines: list[str], expected: list[str]) -> None:
    assert without_quotes("\n".join(lines)) == "\n".join(expected)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Thanks!", "-- ", "Zoë", "", INTRO, "> earlier"], ["Thanks!", "-- ", "Zoë"]),
        (["Thanks!", "", INTRO, "> earlier", "", "-- ", "Zoë"], ["Thanks!"]),
        (["Thanks!", "", INTRO, "> earlier", "_______________________", "A list"], ["Thanks!"]),
        (
            ["Thanks!", "", "Sent from my phone", "", INTRO, "> earlier"],
            ["Thanks!", "", "Sent from my phone"],
        ),
        (["-- ", "Zoë", "Shop"], ["-- ", "Zoë", "Shop"]),
    ],
    ids=repr,
)
def test_a_signature_stays_above_a_quote(lines: list[str], expected: list[str]) -> None:
    assert without_quotes("\n".join(lines)) == "\n".join(expected)


def test_unmarked_words_below_an_attribution_alone_stay() -> None:
    text = f"{INTRO}\n\nDoes Thursday work?\n\nYes."
    assert without_quotes(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a > b\nc\n>= 3 is enough\nend",
        "Hello,\n\n    code\n\nBob\n-- \nBob",
        "> a question\n\nan answer",
        "a\n\n\n\nb",
        "\tindented\n  text",
    ],
)
def test_a_text_without_a_quote_is_unchanged(text: str) -> None:
    assert without_quotes(text) == text


LINES = st.sampled_from(
    [
        *(
            "",
            "word",
            "> quoted",
            ">",
            INTRO,
            "On 1 May",
            "A wrote:",
            "-- ",
            "_" * 32,
            "-----Original Message-----",
        ),
        *(*BLOCK, "10:11 2026 <a@b.example>:", "Am 3.2.2026 schrieb", "写道：", " > odd"),
    ]
)


@given(st.lists(LINES, max_size=12))
def test_only_lines_of_the_text_are_left(lines: list[str]) -> None:
    text = "\n".join(lines)
    stripped = without_quotes(text)
    kept = [line for line in stripped.split("\n") if line.strip()]
    rest = iter(lines)
    assert all(any(line == other or line == other.rstrip() for other in rest) for line in kept)
    assert without_quotes(text.replace("\n", "\r\n")).replace("\r\n", "\n") == stripped


@given(st.text(alphabet=st.sampled_from("ab 1.,\n"), max_size=80))
def test_a_text_without_marks_and_colons_is_unchanged(text: str) -> None:
    assert without_quotes(text) == text.rstrip()


@given(st.lists(st.sampled_from(["> quoted", ">", INTRO, ""]), max_size=8))
def test_new_words_below_marked_lines_are_never_lost(lines: list[str]) -> None:
    above = [*lines, *(["> quoted"] if INTRO in lines[-1:] else [])]
    assert without_quotes("\n".join([*above, "new words"])).endswith("new words")


def test_a_long_text_without_a_quote_is_kept_whole() -> None:
    text = "line\n" * (MOST_LINES * 3) + "end"
    assert without_quotes(text) == text


def test_a_quote_beyond_the_search_limit_is_kept() -> None:
    text = "line\n" * MOST_LINES + INTRO + "\n> a\nb"
    assert without_quotes(text) == text


def test_words_below_a_long_quote_stay() -> None:
    assert without_quotes(INTRO + "\n> a" * MOST_LINES * 3 + "\nanswer") == "answer"


def test_a_long_line_is_kept() -> None:
    assert without_quotes("x" * 100_000 + "\n" + INTRO + "\n> a") == "x" * 100_000


def test_a_line_of_brackets_is_no_introduction() -> None:
    line = "2026/5/1 Zoë <zoe@example.org>"
    assert without_quotes(f"Yes.\n{line}\n> a") == "Yes."
    odd = "2026/5/1" + " <@>" * 4
    assert without_quotes(f"Yes.\n{odd}\n> a\nb").startswith("Yes.\n2026")


def test_many_quoted_lines_are_left_out() -> None:
    assert without_quotes("a\n" * 1100 + ">\n" * 50_000) == "a\n" * 1099 + "a"
    assert without_quotes("a\n" * 1100 + ">\n" * (MOST_QUOTED_LINES + 9)) == "a\n" * 1099 + "a"


def test_words_below_too_many_quoted_lines_stay_with_the_lines() -> None:
    stripped = without_quotes(f"{INTRO}\n" + "> a\n" * (MOST_QUOTED_LINES + 9) + "answer")
    assert stripped.endswith("> a\nanswer")
    assert stripped.count("\n") < 20
