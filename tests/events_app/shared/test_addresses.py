"""Spellings of one mailbox compare equal, and no other addresses do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.shared.addresses import comparable, local_part


@pytest.mark.parametrize(
    ("spelling", "form"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann.B+c@Example.COM", "ann.b+c@example.com"),
        (" ann @ example . com ", "ann@example.com"),
        ("\tann\t@ example.com\u00a0\n", "ann@example.com"),
        ('"a..b"@docomo.example', '"a..b"@docomo.example'),
        ("A..B@docomo.example", '"a..b"@docomo.example'),
        (".a@x.example", '".a"@x.example'),
        ("a.@x.example", '"a."@x.example'),
        ('"O\'Neil"@x.example', "o'neil@x.example"),
        ('"a\\b"@x.example', "ab@x.example"),
        (r'"a\"b"@x.example', r'"a\"b"@x.example'),
        ('"a b"@x.example', '"a b"@x.example'),
        ('"a@b"@x.example', '"a@b"@x.example'),
        ("groß@example.com", "groß@example.com"),
        ("JÖRG@example.com", "jÖrg@example.com"),
        ("İ\u212a@example.com", "İ\u212a@example.com"),
        ("ann@[127.0.0.1]", "ann@[127.0.0.1]"),
        ("<b>@example.com", "<b>@example.com"),
        ("Ann Smith", "ann smith"),
        ("@", "@"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_the_comparable_form_of_an_address(spelling: str, form: str) -> None:
    assert comparable(spelling) == form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gross@example.com", "groß@example.com"),
        ("jörg@example.com", "JÖRG@example.com"),
        ("i@example.com", "İ@example.com"),
        ("k@example.com", "\u212a@example.com"),
        ("a.b@example.com", "a..b@example.com"),
    ],
)
def test_addresses_that_may_be_two_mailboxes_differ(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)


spellings = st.text() | st.text('aB.@"\\ \t<ß', max_size=12)


@given(spellings)
def test_the_comparable_form_is_its_own_form(spelling: str) -> None:
    assert comparable(comparable(spelling)) == comparable(spelling)


@given(st.text('aB.ß@\\" ', min_size=1, max_size=8))
def test_a_quoted_local_part_keeps_its_content(content: str) -> None:
    escaped = content.replace("\\", r"\\").replace('"', r"\"")
    written = local_part(f'"{escaped}"')
    assert written in {content, f'"{escaped}"'}
    assert local_part(written) == written
