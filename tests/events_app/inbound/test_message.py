"""The attributes of an inbound message, as receivers read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from tests.support.inbound.forms import MESSAGE_ATTRIBUTES
from tests.support.inbound.sources import contents, parse_lines, parse_source
from tests.support.strategies import mail_sources


def multipart(*parts: tuple[str, str], kind: str = "mixed") -> InboundMessage:
    """A mail of parts, each a header block and a body."""
    inside = "".join(f"\n--b\n{head}\n\n{body}" for head, body in parts)
    return parse_lines(f"Content-Type: multipart/{kind}; boundary=b", inside, "--b--")


TEXT = ("Content-Type: text/plain", "plain")
HTML = ("Content-Type: text/html", "<p>html")


@given(st.binary(max_size=200) | mail_sources)
def test_attributes_of_any_mail_never_raise(source: bytes) -> None:
    message = parse_source(source)
    for part in message.walk():
        assert isinstance(part, InboundMessage)
        for name in MESSAGE_ATTRIBUTES:
            getattr(part, name)
        part.get_content_text().encode()
        part.get_filename()
        assert part.as_uploaded_file().name
    message.as_bytes()


def test_attributes_of_an_empty_message_are_empty() -> None:
    message = InboundMessage()
    found = {name: getattr(message, name) for name in MESSAGE_ATTRIBUTES}
    assert found.pop("text") == found.pop("stripped_text") == ""
    assert not any(found.values())


# --- Headers ---


def test_from_email_is_the_first_address() -> None:
    assert str(parse_lines("From: A <a@x.example>, b@x.example", "").from_email) == "A <a@x.example>"
    assert parse_lines("From: nobody:;", "").from_email is None


@pytest.mark.parametrize(
    ("spf", "envelope_sender", "dkim", "expected"),
    [
        (None, None, {}, None),
        (None, "a@example.org", {}, None),
        ("none", "a@example.org", {}, False),
        ("pass", "bounces@example.org", {}, True),
        ("Pass", "bounces@Example.ORG", {}, True),
        ("pass", "bounces@mail.example.org", {}, False),
        ("pass", "example.org", {}, False),
        ("pass", "bounces@evil.example", {}, False),
        ("pass", "", {}, False),
        ("pass", None, {}, False),
        ("softfail", "a@example.org", {}, False),
        (None, None, {"example.org": "pass"}, True),
        (None, None, {"Example.ORG": "PASS"}, True),
        (None, None, {"mail.example.org": "pass"}, False),
        (None, None, {"example.org": "fail"}, False),
        (None, None, {"evil.example": "pass", "example.org": "fail"}, False),
        (None, None, {"evil.example": "pass", "example.org": "pass"}, True),
        ("fail", "a@evil.example", {"example.org": "pass"}, True),
    ],
)
def test_from_is_aligned_with_a_domain_that_passed_spf_or_dkim(
    spf: str | None, envelope_sender: str | None, dkim: dict[str, str], expected: bool | None
) -> None:
    message = parse_lines("From: Ann <ann@example.org>", "")
    message.spf, message.envelope_sender, message.dkim = spf, envelope_sender, dkim
    assert message.from_is_aligned is expected


@pytest.mark.parametrize(
    ("author", "expected"), [("a@news.example.org", True), ("a@co.uk", False), ("a@evil.co.uk", True)]
)
def test_a_domain_that_passed_speaks_for_its_subdomains_alone(author: str, expected: bool) -> None:
    message = parse_lines(f"From: {author}", "")
    message.dkim = {"example.org": "pass", "evil.co.uk": "pass"}
    assert message.from_is_aligned is expected


@pytest.mark.parametrize(
    "lines",
    [
        ("From: ann@example.org <eve@evil.example>",),
        ("From: ann@example.org, eve@evil.example",),
        ("From: ann@example.org <eve@evil.example>, ann@example.org",),
        ("From: ann@example.org", "From: eve@evil.example"),
        ("From: ann@example.org", "From:"),
        ("From: ann",),
        ("From:",),
        ("To: ann@example.org",),
    ],
)
def test_from_without_a_single_address_of_the_domain_is_not_aligned(lines: tuple[str, ...]) -> None:
    message = parse_lines(*lines, "")
    message.dkim = {"example.org": "pass"}
    assert message.from_is_aligned is False


def test_bcc_is_read_from_the_header() -> None:
    assert [address.addr_spec for address in parse_lines("Bcc: a@x.example", "").bcc] == ["a@x.example"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "Thu, 12 Feb 2026 13:40:01 +0100",
            datetime(2026, 2, 12, 13, 40, 1, tzinfo=timezone(timedelta(hours=1))),
        ),
        ("Thu, 12 Feb 2026 13:40:01 -0000", datetime(2026, 2, 12, 13, 40, 1, tzinfo=UTC)),
        ("12 Feb 2026 13:40", datetime(2026, 2, 12, 13, 40, tzinfo=UTC)),
        ("Sat, 31 Jan 2026 23:59:60 +0000", datetime(2026, 2, 1, tzinfo=UTC)),
        ("12 Feb 2026 10:11:60", datetime(2026, 2, 12, 10, 12, tzinfo=UTC)),
        (
            "Thu, 12 Feb 2026 24:00:00 +0100",
            datetime(2026, 2, 13, tzinfo=timezone(timedelta(hours=1))),
        ),
        ("2026-02-12T13:40:01Z", datetime(2026, 2, 12, 13, 40, 1, tzinfo=UTC)),
        (
            "2026-02-12 13:40:01+01:00",
            datetime(2026, 2, 12, 13, 40, 1, tzinfo=timezone(timedelta(hours=1))),
        ),
        ("Thu, 12 Feb 2026 24:00:01 +0100", None),
        ("Thu, 12 Feb 2026 10:11:61 +0100", None),
        ("Thu, 12 Feb 2026 10:60:00 +0100", None),
        ("Fri, 31 Dec 9999 24:00:00 +0100", None),
        ("Thu, 99 Feb 2026 13:40:01 +0100", None),
        ("Thu, 12 Feb 2026 13:40:01 +9999", None),
        ("12 Feb 99999999999 13:40", None),
        ("soon", None),
        ("", None),
    ],
)
def test_the_date_is_aware_or_none(value: str, expected: datetime | None) -> None:
    assert parse_lines(f"Date: {value}", "").date == expected


def test_a_subject_is_one_line() -> None:
    assert parse_lines("Subject: =?utf-8?q?one=0D=0ABcc=3A_x=00?=", "").subject == "one Bcc: x"
    assert parse_lines("Subject:", "").subject == ""
    assert parse_lines("").subject is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" <a@b> ", "<a@b>"),
        ("a b", "a b"),
        ("", None),
        ("<a\n @b>", "<a@b>"),
        ("<a@b> (added by postmaster@b)", "<a@b>"),
        ("a@b", "<a@b>"),
        ("a@b (added by x)", "a@b (added by x)"),
        ("<a>", "<a>"),
        ("=?utf-8?q?=3Ca=40b=3E?=", "<a@b>"),
    ],
)
def test_the_message_id_is_the_text_of_its_header(value: str, expected: str | None) -> None:
    assert parse_lines(f"Message-ID: {value}", "").message_id == expected


def test_message_ids_are_found_among_other_text() -> None:
    message = parse_lines(
        "In-Reply-To: your mail of today <a@b>", "References: <1@b>\n <2@b>,<3@b> < x > <4@b", ""
    )
    assert message.in_reply_to == ["<a@b>"]
    assert message.references == ["<1@b>", "<2@b>", "<3@b>"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<a-long\n -id@b>", ["<a-long-id@b>"]),
        ("<a@\n\tb> <c@d>", ["<a@b>", "<c@d>"]),
        ("a@b", ["<a@b>"]),
        ("a@b, c@d\n e@f", ["<a@b>", "<c@d>", "<e@f>"]),
        ("your mail to a@b", []),
        ("a@b <c@d>", ["<c@d>"]),
        ("<" * 100_000, []),
        ("<a@" * 30_000, []),
        ("", []),
    ],
)
def test_folded_message_ids_and_ids_without_brackets_are_read(value: str, expected: list[str]) -> None:
    assert parse_lines(f"In-Reply-To: {value}", "").in_reply_to == expected


# --- Bodies ---


def test_bodies_are_found_in_any_structure() -> None:
    message = multipart(
        ("Content-Type: multipart/related; boundary=c", "--c\nContent-Type: text/html\n\n<p>\n--c--"),
        TEXT,
        kind="alternative",
    )
    assert (message.text, message.html) == ("plain", "<p>")


PICTURE = ("Content-Type: image/png\nContent-Disposition: inline; filename=a.png", "...")
FILE = ("Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf", "...")
BELOW = ("Content-Type: text/plain", "below")


@pytest.mark.parametrize(
    ("kind", "parts", "text", "html"),
    [
        ("mixed", [TEXT, PICTURE, BELOW], "plain\nbelow", None),
        ("mixed", [TEXT, FILE, BELOW], "plain\nbelow", None),
        ("mixed", [TEXT, BELOW], "plain\nbelow", None),  # a mailing list's footer
        ("mixed", [HTML, PICTURE, HTML], None, "<p>html\n<p>html"),
        ("mixed", [("Content-Type: text/plain", "plain\n"), PICTURE, BELOW], "plain\nbelow", None),
        ("mixed", [("Content-Type: text/plain", ""), PICTURE, BELOW], "below", None),
        ("mixed", [TEXT, PICTURE, ("Content-Type: text/plain", "")], "plain\n", None),
        (
            "mixed",
            [TEXT, ("Content-Type: text/plain\nContent-Disposition: inline", "below")],
            "plain\nbelow",
            None,
        ),
        ("mixed", [TEXT, ("Content-Type: text/plain; name=a.txt", "notes")], "plain", None),
        (
            "mixed",
            [TEXT, ("Content-Type: text/plain\nContent-Disposition: attachment", "notes")],
            "plain",
            None,
        ),
        ("related", [HTML, PICTURE, HTML], None, "<p>html\n<p>html"),
        ("related", [HTML, ("Content-Type: text/html\nContent-ID: <frame>", "<p>frame")], None, "<p>html"),
        (
            "related",
            [HTML, ("Content-Type: text/html\nContent-Location: frame", "<p>frame")],
            None,
            "<p>html",
        ),
        ("alternative", [TEXT, HTML, BELOW], "plain", "<p>html"),
    ],
)
def test_consecutive_bodies_are_joined(
    kind: str, parts: list[tuple[str, str]], text: str | None, html: str | None
) -> None:
    message = multipart(*parts, kind=kind)
    assert (message.text, message.html) == (text, html)
    assert not {"below", "<p>html"} & {part.get_content_text() for part in message.attachments}


def test_the_root_of_a_related_part_is_a_body_below_another_body() -> None:
    inside = "--c\nContent-Type: text/html\nContent-ID: <root>\n\n<p>root\n--c--"
    message = multipart(HTML, ("Content-Type: multipart/related; boundary=c", inside))
    assert message.html == "<p>html\n<p>root"


def test_the_text_below_alternatives_is_joined_to_their_text() -> None:
    alternatives = "--c\nContent-Type: text/plain\n\nplain\n--c\nContent-Type: text/html\n\n<p>html\n--c--"
    message = multipart(("Content-Type: multipart/alternative; boundary=c", alternatives), FILE, BELOW)
    assert (message.text, message.html) == ("plain\nbelow", "<p>html")


def test_flowed_text_is_joined_to_paragraphs() -> None:
    flowed = "Content-Type: text/plain; format=Flowed"
    message = multipart(
        (flowed, "one \ntwo\n> a \n> b"),
        (f"{flowed}; delsp=Yes", "three \nfour"),
        ("Content-Type: text/plain", "five \nsix"),
    )
    assert message.text == "one two\n> a b\nthreefour\nfive \nsix"
    first = next(message.iter_parts())
    assert first.get_content() == "one \ntwo\n> a \n> b"
    assert parse_lines(flowed, "", "Yes. \nNo.", "> a \n> b").stripped_text == "Yes. No."


def test_flowed_text_of_many_lines_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events_app.inbound.text.flowed.MOST_LINES", 5)
    flowed = ("Content-Type: text/plain; format=flowed", "a \nb \nc")
    assert multipart(flowed, flowed, flowed).text == "a b c\na b c\na \nb \nc"


def test_an_attached_text_or_mail_is_not_the_body() -> None:
    message = multipart(
        ("Content-Disposition: attachment", "a file"),
        ("Content-Type: message/rfc822", "Subject: x\n\ninner"),
    )
    assert (message.text, message.html) == (None, None)
    assert contents(message.attachments) == [b"a file", b"Subject: x\n\ninner"]


@pytest.mark.parametrize("charset", ["windows-1252", "utf-8", "x-unheard-of", '"', "\xff"])
def test_a_body_in_a_wrong_charset_is_read(charset: str) -> None:
    source = f"Content-Type: text/plain; charset={charset}\n\n".encode() + "9 € – groß".encode("windows-1252")
    assert parse_source(source).text == "9 € – groß"


def test_a_body_is_cleaned_for_storing() -> None:
    assert parse_source(b"Content-Type: text/plain; charset=utf-7\n\na\0b+2D0-").text == "ab\ufffd"


@given(
    st.sampled_from(["iso-2022-jp", "euc-jp", "big5", "utf-7", "windows-1253", "utf-16", "x"]),
    st.sampled_from(["", "base64", "quoted-printable", "uuencode"]),
    st.lists(
        st.sampled_from([b"> ", b" ", b"-- ", b"\n", b"\x1b$B", b"=", b"begin 6 a"]) | st.binary(max_size=9)
    ),
)
def test_flowed_text_of_any_bytes_is_storable(charset: str, encoding: str, pieces: list[bytes]) -> None:
    head = (
        f"Content-Type: text/plain; format=flowed; charset={charset}\nContent-Transfer-Encoding: {encoding}"
    )
    text = parse_source(head.encode() + b"\n\n" + b"".join(pieces)).text
    assert text is not None
    assert "\0" not in text
    text.encode()


def test_stripped_text_and_html_leave_out_the_quote() -> None:
    message = multipart(
        ("Content-Type: text/plain", "Yes.\n\nOn 1 May 2026, 10:11, A wrote:\n> Is it?"),
        (
            "Content-Type: text/html",
            "<p>Yes.</p><p>On 1 May 2026, 10:11, A wrote:</p><blockquote>Is it?</blockquote>",
        ),
        kind="alternative",
    )
    assert (message.stripped_text, message.stripped_html) == ("Yes.", "<p>Yes.</p>")


def test_a_body_that_cannot_be_stripped_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> str:
        raise RecursionError

    monkeypatch.setattr("events_app.inbound.text.quotes.without_quotes_html", broken)
    assert parse_lines("Content-Type: text/html", "", "<p> ").stripped_html == "<p>"


# --- Parts ---


def test_the_html_decides_about_inlines_and_not_the_disposition() -> None:
    message = multipart(
        ("Content-Type: text/html", "<img src=cid:one><img src='cid:two'>"),
        ("Content-Type: image/png\nContent-Disposition: inline\nContent-ID: <one>", "1"),
        ("Content-Type: image/png\nContent-Disposition: attachment\nContent-ID: < two >", "2"),
        ("Content-Type: image/png\nContent-ID: <one>", "3"),
        ("Content-Type: image/png\nContent-Disposition: inline\nContent-ID: <four>", "4"),
        ("Content-Type: image/png\nContent-Disposition: inline", "5"),
        ("Content-Type: application/pdf\nContent-Disposition: attachment", "6"),
    )
    assert contents(message.inlines) == [b"1", b"2", b"3"]
    assert contents(message.attachments) == [b"4", b"5", b"6"]
    assert [part.is_inline() for part in message.inlines] == [True, False, False]
    assert [part.is_attachment() for part in message.attachments] == [False, False, True]
    assert message.content_id_map == {"one": message.inlines[2], "two": message.inlines[1]}
    assert message.inline_attachments == message.content_id_map


def test_a_text_without_a_name_that_the_html_shows_is_an_inline() -> None:
    message = multipart(
        ("Content-Type: text/html", "<iframe src=cid:one>"),
        ("Content-Type: text/html\nContent-ID: <one>", "shown"),
        ("Content-Type: text/html\nContent-ID: <two>", "another body"),
    )
    assert (contents(message.inlines), message.attachments) == ([b"shown"], [])


def test_a_picture_that_no_html_shows_is_an_attachment() -> None:
    """As Apple Mail writes a picture between two texts."""
    picture = "Content-Type: image/png; name=a.png\nContent-Disposition: inline; filename=a.png"
    message = multipart(TEXT, (picture, "shown"), ("Content-Type: text/plain", "more"))
    assert contents(message.attachments) == [b"shown"]
    assert message.inlines == []


def test_a_part_without_a_disposition_is_a_file_except_another_text_without_a_name() -> None:
    message = multipart(
        TEXT,
        HTML,
        ("Content-Type: image/png\nContent-ID: <one>", "picture"),
        ("Content-Type: text/calendar", "invitation"),
        ("Content-Type: text/plain; name=notes.txt", "notes"),
        ("Content-Type: text/plain", "what a mailing list writes below"),
        ("Content-Type: text/plain\nContent-Disposition: inline", "as Mailman writes it"),
        ("Content-Type: message/delivery-status", "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b"),
        ("Content-Disposition: whatever", "other"),
    )
    assert message.inlines == []
    assert contents(message.attachments) == [
        b"picture",
        b"invitation",
        b"notes",
        b"Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b",
    ]


def test_a_mail_that_is_only_a_file_is_its_own_attachment() -> None:
    message = parse_lines("Content-Type: application/pdf", "", "%PDF")
    assert message.attachments == [message]
    assert message.text is None


def test_attachments_of_an_attached_mail_belong_to_that_mail() -> None:
    inner = (
        "Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Disposition: attachment\n\nfile\n--c--\n"
    )
    message = multipart(TEXT, ("Content-Type: message/rfc822\nContent-Disposition: attachment", inner))
    (attached,) = message.attachments
    assert attached.get_content_bytes() == inner.encode()
    inside = attached.get_payload(0)
    assert isinstance(inside, InboundMessage)
    assert contents(inside.attachments) == [b"file"]
