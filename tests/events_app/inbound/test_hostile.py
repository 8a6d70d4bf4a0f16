"""A hostile mail costs bounded work, and its readable parts are still read."""

import encodings
import subprocess
import sys
from email.headerregistry import HeaderRegistry
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import hostile
from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.bounds import MOST_HEADER_LINES, MOST_SEARCHED, Taken
from events_app.inbound.parse.form import MOST_JSON, json_object
from events_app.inbound.text import headers
from events_app.inbound.text.addresses import MOST_ADDRESSES
from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.decoding import decode_text
from events_app.inbound.text.headers import BUDGET, Budget
from tests.support.inbound.forms import MESSAGE_ATTRIBUTES, read_parsed, read_raw
from tests.support.inbound.sources import parse_source

#: Shapes that took more than `hostile.LONGEST` CPU seconds, at their full size, when work was not bounded.
KILLED = (
    "parts: quotes in Content-Type",
    "headers: of one letter",
    "text/html: attributes of one tag",
    "text/html: brackets after a date",
    "text/plain; charset=utf-7: bytes that are none of it",
    "messages in messages",
    "form: other Content headers",
    "form: a mail of lines attached",
)

#: Bits that the standard library's parser has trouble with, alone or many times over.
BITS = (
    *(
        '"',
        "(",
        ")",
        "<",
        ">",
        "[",
        "]",
        "@",
        ":",
        ";",
        ",",
        "\\",
        "'",
        "*",
        "%",
        "=",
        "?",
        ".",
        "/",
        "_",
        "-",
    ),
    *(
        " ",
        "\t",
        "a",
        "9",
        "ü",
        "\0",
        "\x7f",
        "=?",
        "?=",
        "=?q?",
        "=?utf-8?q?a?=",
        "=?x?b?=?=",
        "*0*=utf-8''%FF",
    ),
    *(
        "a:",
        "a@b, ",
        "<@a:b@c>",
        "; a=b",
        "; filename*=x'y'z",
        "; boundary=",
        "(a",
        "\\\\",
        "multipart/mixed",
    ),
)
NAMES = ("From", "To", "Subject", "Date", "Message-ID", "References", "Content-Type", "Content-Disposition")

#: Lines that the parser reads in a second way when the first way fails.
BROKEN_LINES = (
    *(b"Content-Type: multipart/mixed; boundary=a", b"Content-Type: multipart/mixed; boundary=a:b"),
    *(b"Content-Type: multipart/related; boundary='a'", b'Content-Type: multipart/mixed; boundary="b'),
    *(
        b"Content-Type: multipart/mixed",
        b"Content-Type : multipart/mixed; boundary=\xe9;b",
        b"Content-Type: x",
    ),
    *(
        b"Content-Type: message/rfc822",
        b" Content-Type: message/delivery-status",
        b"Content-Transfer-Encoding: base64",
    ),
    *(
        b"--a",
        b"--a--",
        b"--a:b",
        b"--a:b--",
        b"--'a'",
        b"--b ",
        b"--b--",
        b"--\xe9;b",
        b"--c",
        b"--c--",
        b"--",
        b"-- ",
    ),
    *(
        b"",
        b"",
        b"",
        b" ",
        b"\t",
        b"text",
        b"no header",
        b"Note: x",
        b"X-A: b",
        b"Subject : x",
        b"From a",
        b">From a",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbfTo: a@b.example",
        b"\0",
        b"\0Date: x",
        b"\xff: x",
        b": x",
        b"\xfe\xff",
        b"U3ViamVjdDogeA==",
    ),
)

broken_mails = st.lists(
    st.tuples(st.sampled_from(BROKEN_LINES), st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\r\r\n"])),
    max_size=30,
).map(lambda lines: b"".join(map(b"".join, lines)))

junk = st.lists(st.sampled_from(BITS), max_size=8).map("".join)


class Parsed(list[str]):
    """Each header that the structured parser is given."""

    def of(self, monkeypatch: pytest.MonkeyPatch) -> "Parsed":
        parse = HeaderRegistry.__call__

        def note(registry: HeaderRegistry, name: str, value: str) -> Any:
            self.append(value)
            return parse(registry, name, value)

        monkeypatch.setattr(HeaderRegistry, "__call__", note)
        return self


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_hostile_mail_is_read_within_its_limits(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hostile", name],
        cwd=Path(hostile.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert "killed" not in done.stdout
    assert "raised" not in done.stderr


@pytest.mark.parametrize(
    "unit", ['"', "(", "()", "[", "<", "\\", "a:", "a@b, ", "a ", ".", "; a=b", "=?utf-8?q?a?="]
)
@pytest.mark.parametrize("name", ["From", "Subject", "Content-Type"])
def test_structured_header_parsing_stays_within_its_budget(
    name: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = Parsed().of(monkeypatch)
    value = unit * (15_000 // len(unit))
    mail = parse_source(f"{name}: {value}\n".encode() * 40 + b"\nbody")
    for attribute in MESSAGE_ATTRIBUTES:
        getattr(mail, attribute)
    mail.items()
    assert sum(map(headers.cost, parsed)) <= BUDGET
    assert len(parsed) < 40


@pytest.mark.parametrize(("unit", "most"), [(",a", 100), (",(" + "a" * 20, 30)])
def test_addresses_and_comments_cost_more_budget_than_words(
    unit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of these took the structured parser 15 and 75 milliseconds.
    parsed = Parsed().of(monkeypatch)
    mail = parse_source(f"To: {unit * 240}\n".encode() * 150 + b"\nbody")
    mail.items()
    assert 0 < len(parsed) < most


def test_all_parts_of_a_mail_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = Parsed().of(monkeypatch)
    part = b"--b\nContent-Type: " + b'"' * 3990 + b"\n\nx\n"
    mail = parse_source(b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 236 + b"--b--\n")
    assert len(mail.attachments + mail.inlines) + len(list(mail.walk())) >= 237
    assert 0 < len(parsed) < 20


def test_a_post_in_parsed_mode_has_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = Parsed().of(monkeypatch)
    message = read_parsed(b"X-A: a\n", text="t", html="h").message
    for part in message.walk():
        part.items()
    assert len(parsed) > 2
    policies = [cast(headers.TolerantPolicy, part.policy) for part in message.walk()]
    (budget,) = {id(policy.budget): policy.budget for policy in policies}.values()
    assert budget
    assert budget.left < BUDGET


def test_headers_over_the_budget_are_read_without_structure() -> None:
    source = (
        b'From: =?utf-8?q?M=C3=BC?= <m@x.example>\nTo: "A, B" <a@b.example>, c@d.example\n'
        b'Content-Type: multipart/mixed; boundary="b"\n\n'
        b"--b\nContent-Type: text/plain; charset=windows-1252\n\nGr\xfc\xdfe\n"
        b"--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename*0*=utf-8''%C3;"
        b" filename*1*=%BC.txt\n\nx\n--b--\n"
    )
    mail = parse_source(source, Taken(budget=Budget(0)))
    usual = parse_source(source)
    assert not hasattr(mail["From"], "addresses")
    assert hasattr(usual["From"], "addresses")
    for each in (mail, usual):
        assert str(each.from_email) == "Mü <m@x.example>"
        assert [address.addr_spec for address in each.to] == ["a@b.example", "c@d.example"]
        assert each.to[0].display_name == "A, B"
        assert each.text == "Grüße"
        assert [part.get_filename() for part in each.attachments] == ["ü.txt"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a:" * 12_000, []),
        ('"' * 16_001 + " <a@b.example>", ["a@b.example"]),
        ("," * 501 + ":" * 3000 + "a@b.example", ["a@b.example"]),
        ("a@b.example, " * 600 + "x y z, G: c@d.example;", ["a@b.example"] * 600 + ["c@d.example"]),
        ("," * 501 + "<@r.example,@s.example:a@b.example>", ["a@b.example"]),
        ("," * 501 + 'x@y <"a b"@c.example> (a comment), z@z <a@b> <c@d>', ['"a b"@c.example', "a@b", "c@d"]),
        ("," * 501 + '"a\\"b"@c.example', ['"a\\"b"@c.example']),
        ("a@b.example," * (MOST_ADDRESSES + 5), ["a@b.example"] * MOST_ADDRESSES),
    ],
)
def test_addresses_are_read_from_an_unparsed_header(value: str, expected: list[str]) -> None:
    assert [address.addr_spec for address in parse_source(f"To: {value}\n\n".encode()).to] == expected


@given(st.sampled_from(NAMES), junk, st.integers(1, 3000), junk)
def test_reading_raises_nothing_for_any_header(name: str, unit: str, times: int, rest: str) -> None:
    mail = parse_source(f"{name}: {unit * times}{rest}\n\nbody".encode())
    for attribute in MESSAGE_ATTRIBUTES:
        getattr(mail, attribute)
    for part in mail.walk():
        assert isinstance(part, InboundMessage)
        part.get_content_text()
        part.get_filename()
        part.get_params()


@given(broken_mails)
def test_reading_raises_nothing_for_any_structure(source: bytes) -> None:
    mail = parse_source(source)
    for attribute in MESSAGE_ATTRIBUTES:
        getattr(mail, attribute)
    for part in mail.walk():
        assert isinstance(part, InboundMessage)
        part.get_content_bytes()
        part.get_content_text()
        part.as_uploaded_file()
    parse_source(mail.as_bytes())


@pytest.mark.parametrize(
    "source",
    [
        "Subject: =?{}?q?a?=\n\n",
        "From: =?{}?q?a?= <a@b.example>\n\n",
        'To: "=?{}*en?b?YQ==?=" <a@b.example>\n\n',
        "Subject: =?=?{}?q?a?=?=\n\n",
        "Content-Type: text/plain; charset={}\n\n\xff",
        "Content-Type: text/plain; charset*={}'en'utf-8\n\n\xff",
        "Content-Type: text/plain; charset*=utf-8''{}\n\n\xff",
        "Content-Disposition: attachment; filename*={}''%FF\n\n",
        "Content-Disposition: attachment; filename*=(x){}''%FF\n\n",
        "Content-Disposition: attachment; filename*=\"{}''%FF\"\n\n",
        "Content-Disposition: attachment; filename*0*={}''%FF; filename*1=a\n\n",
        'Content-Disposition: attachment; filename="=?{}?q?=FF?="\n\n',
    ],
)
def test_an_unknown_charset_is_not_cached(source: str) -> None:
    assert decode_text(b"\xff") == "ÿ"  # in windows-1252
    assert not codec_name("idna")  # a codec of Python's, and no charset
    # "unknown-8bit" stands for all of them.
    parse_source(b"To: =?x?q?a?= <a@b.example>\n\n").items()
    for name in ("klingon", "x-ab.c", "u-t-f-8", "a" * 1000, "idna", "ü"):
        before = dict(encodings._cache)
        mail = parse_source(source.format(name).encode("latin-1"))
        mail.items()
        for attribute in MESSAGE_ATTRIBUTES:
            getattr(mail, attribute)
        mail.get_filename()
        mail.get_content()
        mail.get_payload()
        mail.get_content_text(errors="replace")
        mail.as_bytes()
        assert encodings._cache == before


def test_charsets_of_fields_are_not_cached() -> None:
    before = dict(encodings._cache)
    read_raw(b"a: b", charsets='{"subject": "klingon", "text": "utf----8"}', subject="ü", text="ü")
    assert encodings._cache == before


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"a:\n" * (MOST_HEADER_LINES + 1), "headers have more than 50000 lines"),
        (
            b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (at, at) for at in range(99))
            + b"x" * (MOST_SEARCHED // 98),
            "too much content on too many levels",
        ),
        (
            b"".join(b"Content-Type: multipart/mixed\n\n--%d\nContent-ID: x\n" % at for at in range(90))
            + b"\n--c" * 700_000,
            "too much content on too many levels",
        ),
        (b"Content-Type: message/rfc822\n\n" * 99 + b"x" * (MOST_SEARCHED // 98), "too much content"),
        (
            b"".join(
                b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n" % (b"b" * at, b"b" * at)
                for at in range(9, 0, -1)
            )
            + b"\n--bbbbbbbbbx" * 50_000,
            "too much content",
        ),
    ],
)
def test_a_mail_over_a_work_limit_is_unreadable(source: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        parse_source(source)


def test_damaged_utf_7_is_decoded_in_bounded_time() -> None:
    assert decode_text(b"\xff+AOk-", "utf-7") == "\ufffdé"
    assert decode_text(b"\xff+" + b"AOkA" * 300_000, "utf-7").startswith("ÿ+AOkA")


def test_the_number_of_tolerated_utf_8_errors_is_limited() -> None:
    text = "é".encode() * 5000
    assert decode_text(text + b"\xff" * 1000).startswith("é")
    assert decode_text(text + b"\xff" * 1500).startswith("Ã©")


def test_json_over_the_size_limit_is_ignored() -> None:
    assert json_object(b'{"to": "' + b"x" * (MOST_JSON - 10) + b'"}')
    assert json_object(b'{"to": "' + b"x" * (MOST_JSON - 9) + b'"}') == {}
