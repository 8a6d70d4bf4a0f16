"""Suppressions as CSV: what an export writes, an import reads back; and SendGrid's own exports."""

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.shared.addresses import comparable
from sending_app.models import Suppression
from sending_app.suppression.csv_file import BadLine, Unreadable, cells, read_words
from sending_app.suppression.record import Word

NOW = datetime(2026, 7, 14, 12, tzinfo=UTC)
Reason = Suppression.Reason


def read(text: str, reason: Suppression.Reason | None = None) -> list[Word | BadLine]:
    return list(read_words(io.StringIO(text, newline=""), reason, NOW))


def words(text: str, reason: Suppression.Reason | None = None) -> list[Word]:
    found = read(text, reason)
    assert all(isinstance(item, Word) for item in found), found
    return [item for item in found if isinstance(item, Word)]


def bad(text: str, reason: Suppression.Reason | None = None) -> list[BadLine]:
    return [item for item in read(text, reason) if isinstance(item, BadLine)]


def written(*rows: Suppression) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(cells(rows))
    return out.getvalue()


ADDRESSES = st.one_of(
    st.from_regex(r"[a-z0-9=+'-][a-z0-9=+'.-]{0,10}[a-z0-9]@example\.(com|org)", fullmatch=True).filter(
        lambda address: ".." not in address
    ),
    st.text("ab1+-=@'!., ", min_size=1, max_size=12).map(lambda local: comparable(f'"{local}"@example.com')),
)
SCOPES = st.one_of(
    st.just(""),
    st.integers(0, 10**6).map("group:{}".format),
    st.text("news=+-@' ,;\"é", min_size=1, max_size=20).map(str.strip),
)
TIMES = st.timedeltas(timedelta(), timedelta(days=10_000)).map(lambda age: NOW - age)
ROWS = st.builds(
    Suppression,
    address=ADDRESSES,
    scope=SCOPES,
    reason=st.sampled_from(Reason.values),
    since=TIMES,
    until=st.one_of(st.none(), TIMES),
    source=st.sampled_from(Suppression.Source.values),
)


@given(st.lists(ROWS, max_size=5))
def test_an_export_is_read_back(rows: list[Suppression]) -> None:
    found = [(word.address, word.scope, word.reason, word.at, word.until) for word in words(written(*rows))]
    assert found == [(row.address, row.scope, row.reason, row.since, row.until) for row in rows]


@given(st.lists(ROWS, max_size=5))
def test_no_cell_of_an_export_is_a_formula(rows: list[Suppression]) -> None:
    for line in csv.reader(io.StringIO(written(*rows))):
        assert not any(cell.startswith(tuple("=+-@\t\r")) for cell in line)


@given(st.text(max_size=200))
def test_any_text_gives_words_and_bad_lines_or_no_file(text: str) -> None:
    with suppress(Unreadable):
        assert all(isinstance(item, Word | BadLine) for item in read(text, Reason.BLOCKED))


@given(st.binary(max_size=200))
def test_any_bytes_after_a_header_give_words_and_bad_lines(content: bytes) -> None:
    text = (b"address\n" + content).decode("utf-8-sig", "surrogateescape")
    for item in read(text, Reason.BLOCKED):
        assert isinstance(item, BadLine) or item.address.encode()


def test_the_source_of_an_import_is_the_file() -> None:
    (word,) = words("address,reason,source\nann@example.com,spam,event\n")
    assert (word.source, word.at, word.active) == (Suppression.Source.IMPORT, NOW, True)


def test_an_export_of_sendgrid_is_read_with_a_reason() -> None:
    text = (
        "status,reason,email,created\n"
        '5.1.1,"550 5.1.1 The email account\nthat you tried to reach",Ann@Example.com,1443651125\n'
        ",,bob@example.com,2015-09-30 22:12:05 UTC\n"
    )
    at = datetime(2015, 9, 30, 22, 12, 5, tzinfo=UTC)
    assert [(word.address, word.reason, word.at) for word in words(text, Reason.BOUNCED)] == [
        ("ann@example.com", "bounced", at),
        ("bob@example.com", "bounced", at),
    ]


def test_a_file_of_our_reasons_keeps_them_in_any_case() -> None:
    found = words("email;Reason;scope\nann@example.com;SPAM;news\nbob@example.com;;\n", Reason.BLOCKED)
    assert [(word.reason, word.scope) for word in found] == [("spam", "news"), ("blocked", "")]


def test_an_address_is_stored_as_mail_is_sent_to_it() -> None:
    (word,) = words(' EMAIL \n" Ann@Bücher.Example"\n', Reason.BLOCKED)
    assert word.address == "ann@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nobody,spam,", "Invalid address 'nobody'"),
        ("ann@example.com bob@example.com,spam,", "Invalid address"),
        (",spam,", "one address"),
        ("ann@example.com,550 no such user,", "--reason gives one to such lines"),
        ("ann@example.com,spam,yesterday", "'yesterday' is no time"),
        ("ann@example.com,spam,03/11/2019", "is no time"),
        ("ann@example.com,spam,2026-07-16", "lies in the future"),
        ("ann@example.com,spam,1999999999", "lies in the future"),
        ("ann@example.com,spam," + "9" * 60, "is no time"),
        ("a\udcffnn@example.com,spam,", "half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(line: str, why: str) -> None:
    text = f"address,reason,since\neve@example.com,spam,\n\n{line}\nbob@example.com,spam,\n"
    found = read(text)
    (fault,) = [item for item in found if isinstance(item, BadLine)]
    assert fault.number == 4
    assert why in fault.why
    assert [item.address for item in found if isinstance(item, Word)] == [
        "eve@example.com",
        "bob@example.com",
    ]


@pytest.mark.parametrize("scope", ["x" * 101, "group:news", "ne\x01ws"])
def test_a_scope_that_no_mail_has_is_a_bad_line(scope: str) -> None:
    assert len(bad(f"address,reason,scope\nann@example.com,spam,{scope}\n")) == 1


def test_an_open_quotation_mark_costs_the_lines_of_its_cell() -> None:
    long = "".join(f"{number}@example.com,spam\n" for number in range(10_000))
    text = f'address,reason\n"ann@example.com,spam\n{long}bob@example.com,spam\n'
    found = read(text)
    (fault,) = [item for item in found if isinstance(item, BadLine)]
    assert fault.number == 2
    assert "Is a quotation mark open?" in fault.why
    assert found[-1] == Word(
        address="bob@example.com", reason=Reason.SPAM, at=NOW, source=Suppression.Source.IMPORT
    )


@pytest.mark.parametrize("end", ["", 'cid@example.com,"user unknown"\n'])
def test_an_open_quotation_mark_in_the_last_column_loses_no_line_silently(end: str) -> None:
    """The cell goes on to the end of the file, or to the next quotation mark."""
    (fault,) = read(f'email,reason\nann@example.com,"550\nbob@example.com,551\n{end}', Reason.BOUNCED)
    assert isinstance(fault, BadLine)
    assert "Is a quotation mark open?" in fault.why


@pytest.mark.parametrize("text", ["", "ann@example.com\n", "reason,since\nspam,\n"])
def test_a_file_without_a_header_says_which_columns_there_are(text: str) -> None:
    with pytest.raises(Unreadable, match="one of them address or email"):
        read(text, Reason.BLOCKED)


def test_a_file_without_reasons_asks_for_one() -> None:
    with pytest.raises(Unreadable, match="--reason"):
        read("email\nann@example.com\n")


def test_an_end_is_read() -> None:
    (word,) = words("address,reason,until\nann@example.com,blocked,2026-08-01\n")
    assert word.until == datetime(2026, 8, 1, tzinfo=UTC)
    assert word.at == NOW > word.at - timedelta(1)
