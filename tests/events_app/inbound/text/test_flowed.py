"""Flowed text (RFC 3676) is joined to paragraphs. Quotes, signatures and fixed lines stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.flowed import unflowed


@pytest.mark.parametrize(
    ("flowed", "expected"),
    [
        ("one \ntwo\nthree", "one two\nthree"),
        ("one \r\ntwo \r\nthree\r\n", "one two three\r\n"),
        ("one \rtwo", "one two"),
        ("one \n\ntwo", "one \n\ntwo"),  # an empty line is a line of its own
        ("> one \n>\n> two \n\n", "> one \n>\n> two \n\n"),
        ("one \n \ntwo", "one \n\ntwo"),
        (" >no quote\n From here\n  code", ">no quote\nFrom here\n code"),
        ("> a \n> b\n>> c \n>>d\n", "> a b\n>> c d\n"),
        ("> a \n>> b \nc", "> a \n>> b \nc"),  # the depth changes, so the paragraph ends
        ("> a\n>\n> b", "> a\n>\n> b"),
        ("> > a \n> > b \n>> c", "> > a b c"),  # as Alpine writes; by the RFC a quote of depth one (4.5)
        ("Ann \n-- \nAnn Example \nRoad 1", "Ann \n-- \nAnn Example Road 1"),
        ("> Ann\n> -- \n> Road", "> Ann\n> -- \n> Road"),
        ("-- \nAnn", "-- \nAnn"),
        ("ends in a space ", "ends in a space "),
        ("ends in a flowed line \n", "ends in a flowed line \n"),
        ("", ""),
        (" ", ""),
        ("\n\n", "\n\n"),
    ],
)
def test_flowed_lines_are_joined(flowed: str, expected: str) -> None:
    assert unflowed(flowed) == expected


def test_the_space_at_a_line_end_is_deleted_with_delsp() -> None:
    assert unflowed("日本 \n語 \n> x  \n> y", delete_space=True) == "日本語\n> x y"


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=20)), st.booleans())
def test_no_word_is_lost_and_fixed_lines_stay_apart(lines: list[str], delete_space: bool) -> None:
    text = "\n".join(lines)
    joined = unflowed(text, delete_space=delete_space)
    assert [word for word in joined if word not in " \n>"] == [word for word in text if word not in " \n>"]
    fixed = [line.lstrip(">").removeprefix(" ") for line in lines if not line.endswith(" ")]
    assert joined.count("\n") >= len(fixed) - 1


@given(st.lists(st.text("ab c", min_size=1, max_size=9).map(str.strip).filter(bool), min_size=1))
def test_text_wrapped_by_a_mail_program_is_restored(words: list[str]) -> None:
    assert unflowed(" \n".join(words)) == " ".join(words)
