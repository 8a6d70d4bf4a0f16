"""A mail posted in parsed mode is rebuilt as its sender wrote it."""

import json
from email import message_from_bytes

import pytest

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.bounds import MOST_HEADER_BYTES, MOST_PARTS
from events_app.inbound.part import POLICY
from tests.support.inbound.forms import MESSAGE_ID, Part, read_parsed
from tests.support.inbound.sources import parse_source

FILE = Part("attachment1", b"%PDF", "a.pdf", "application/pdf")


def structure(mail: InboundMessage) -> list[str]:
    return [part.get_content_type().removeprefix("multipart/") for part in mail.walk()]


def info(**values: str) -> str:
    return json.dumps({"attachment1": {name.replace("_", "-"): value for name, value in values.items()}})


def only_file(file: Part, **more: str | bytes) -> InboundMessage:
    """The one file of a mail with a text."""
    message = read_parsed(MESSAGE_ID, file, text="t", **more).message
    (found,) = message.attachments + message.inlines
    return found


@pytest.mark.parametrize(
    ("bodies", "files", "expected"),
    [
        ({}, [], ["text/plain"]),
        ({"text": "t"}, [], ["text/plain"]),
        ({"html": "h"}, [], ["text/html"]),
        ({"html": "h", "text": ""}, [], ["text/html"]),
        ({"text": "t", "html": "h"}, [], ["alternative", "text/plain", "text/html"]),
        ({}, [FILE], ["mixed", "application/pdf"]),
        ({"text": "t"}, [FILE], ["mixed", "text/plain", "application/pdf"]),
        (
            {"text": "t", "html": "<img src=cid:c>", "content_ids": '{"c": "attachment2"}'},
            [FILE, Part("attachment2", b"", "b.png", "image/png")],
            ["mixed", "alternative", "text/plain", "related", "text/html", "image/png", "application/pdf"],
        ),
        (
            {"text": "t", "content_ids": '{"c": "attachment1"}'},
            [Part("attachment1", b"", "b.png", "image/png")],
            ["mixed", "text/plain", "image/png"],
        ),
    ],
)
def test_a_parsed_mode_post_becomes_a_mail_with_the_usual_structure(
    bodies: dict[str, str], files: list[Part], expected: list[str]
) -> None:
    message = read_parsed(MESSAGE_ID, *files, **bodies).message
    assert structure(message) == expected
    assert structure(parse_source(message.as_bytes())) == expected


def test_headers_are_kept_except_those_of_the_content() -> None:
    headers = (
        "Received: from a\n\tby b\nReceived: from c\nX-Odd:\n  folded\n"
        "MIME-Version: 1.0\nCONTENT-TYPE: text/html\nContent-Language: de\nX-Last: 1\n"
    )
    message = read_parsed(headers, text="t").message
    assert message.get_all("Received") == ["from a\tby b", "from c"]
    assert message.keys() == [
        *("Received", "Received", "X-Odd", "X-Last"),
        *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    ]


@pytest.mark.parametrize(
    ("content_type", "bodies", "expected"),
    [
        ("text/plain; format=flowed; delsp=yes", {"text": "t"}, ("flowed", "yes")),
        ("text/plain; format=flowed; charset=x", {}, ("flowed", None)),
        ('text/plain; format="flow\\"ed"', {"text": "t"}, (None, None)),
        ("text/plain; format=flowed", {"text": "t", "html": "h"}, (None, None)),
        ("multipart/mixed; format=flowed", {"text": "t"}, (None, None)),
    ],
)
def test_a_single_text_stays_flowed(
    content_type: str, bodies: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    message = read_parsed(f"Content-Type: {content_type}\n", **bodies).message
    (text, *_) = (part for part in message.walk() if part.get_content_type() == "text/plain")
    assert (text.get_param("format"), text.get_param("delsp")) == expected
    assert text.get_param("charset") == "utf-8"


@pytest.mark.parametrize("header", ["И <a@x.example>".encode("koi8-r"), "\ufffd <a@x.example>".encode()])
def test_a_sound_field_replaces_a_damaged_header(header: bytes) -> None:
    field = "И <a@x.example>".encode("koi8-r")
    charsets = json.dumps(dict.fromkeys(("from", "to", "subject"), "koi8-r"))
    values: dict[str, str | bytes] = {"from": field, "to": field, "subject": field, "charsets": charsets}
    block = b"From: " + header + b"\nTo: b@x.example, " + header + b"\nSubject: " + header + b"\n"
    message = read_parsed(block, **values).message
    assert str(message.from_email) == message.subject == "И <a@x.example>"
    # The field has other addresses than the header.
    assert [address.addr_spec for address in message.to] == ["b@x.example", "a@x.example"]
    values["from"] = "\ufffd <a@x.example>"
    damaged = read_parsed(block, **values).message
    assert message.from_email != damaged.from_email


def test_a_sound_header_is_read_before_its_field() -> None:
    block = "From: Ü <a@x.example>\nSubject: =?utf-8?q?=C3=BC?=\n"
    message = read_parsed(block, **{"from": "X <a@x.example>", "subject": "x"}).message
    assert (str(message.from_email), message.subject) == ("Ü <a@x.example>", "ü")


def test_headers_of_bytes_in_a_multipart_mail_have_the_charset_of_its_texts() -> None:
    block = b"Content-Type: multipart/alternative; boundary=b\nSubject: " + "Привет".encode("koi8-r") + b"\n"
    charsets = json.dumps({"text": "koi8-r", "subject": "UTF-8"})
    message = read_parsed(block, text="Привет".encode("koi8-r"), charsets=charsets).message
    assert (message.subject, message.text) == ("Привет", "Привет")


@pytest.mark.parametrize("charset", ["", "koi8-r", "utf-8"])
def test_html_without_a_charset_has_the_charset_that_it_names(charset: str) -> None:
    html = "<meta charset=koi8-r><p>И</p>"
    stated = {"charsets": json.dumps({"html": charset})} if charset else {}
    data = html.encode(charset or "koi8-r")
    assert read_parsed(MESSAGE_ID, html=data, **stated).message.html == html
    label = f"; charset={charset}" if charset else ""
    assert parse_source(f"Content-Type: text/html{label}\n\n".encode() + data).html == html


def test_a_text_that_the_html_shows_is_no_body() -> None:
    file = Part("attachment1", b"notes", "a.txt", "text/plain")
    message = read_parsed(
        MESSAGE_ID, file, html="<iframe src=cid:c>", content_ids='{"c": "attachment1"}'
    ).message
    assert (message.text, [part.get_content_bytes() for part in message.inlines]) == (None, [b"notes"])
    assert message.attachments == []


def test_an_invalid_header_line_hides_no_later_header() -> None:
    message = read_parsed(b"From a mbox line\nno header\n\nSubject: x\r\n\r\nMessage-ID: <a@b>").message
    assert (message.subject, message.message_id) == ("x", "<a@b>")


@pytest.mark.parametrize(
    "headers",
    [
        "Subject : x\nMessage-ID\t: <a@b>\n",
        "\ufeffSubject: x\nMessage-ID: <a@b>\n",
        "Subject: x\nno header\n of two lines\nMessage-ID: <a@b>\n",
        "no header\n\tof two lines\nSubject: x\nMessage-ID: <a@b>\n",
        "Subject:\n\n x\n \nMessage-ID: <a@b>\n",
    ],
)
def test_headers_are_read_as_tolerantly_as_in_raw_mode(headers: str) -> None:
    message = read_parsed(headers, text="t").message
    assert (message.subject, message.message_id) == ("x", "<a@b>")


def test_fields_replace_missing_headers() -> None:
    fields = {
        "from": "Mü <m@x.example>",
        "to": "a@x.example, b@x.example",
        "cc": "c@x",
        "subject": "Grüße\nBcc: x",
    }
    message = read_parsed(MESSAGE_ID, **fields).message
    assert str(message.from_email) == "Mü <m@x.example>"
    assert [address.addr_spec for address in message.to] == ["a@x.example", "b@x.example"]
    assert [address.addr_spec for address in message.cc] == ["c@x"]
    assert message.subject == "Grüße Bcc: x"
    assert parse_source(message.as_bytes()).subject == "Grüße Bcc: x"


def test_headers_take_precedence_over_fields() -> None:
    message = read_parsed("Subject: header\nFrom: h@x", subject="field", **{"from": "f@x"}).message
    assert (message.subject, str(message.from_email)) == ("header", "h@x")


def test_too_many_headers_are_unreadable() -> None:
    with pytest.raises(Unreadable, match="headers have more than"):
        read_parsed("A: b\n" * 250_000)


def test_the_names_of_files_count_as_headers() -> None:
    files = [Part(f"attachment{at}", b"x", "ü" * 2000) for at in range(MOST_HEADER_BYTES // 4000 + 1)]
    with pytest.raises(Unreadable, match="headers have more than"):
        read_parsed(MESSAGE_ID, *files)


@pytest.mark.parametrize(
    "content_ids", ['{"c": "attachment1"}', '{"attachment1": "<c>"}', '{"attachment1": 3}', "[", ""]
)
def test_content_ids_are_read_in_both_directions(content_ids: str) -> None:
    known = {} if 'c"' in content_ids or "<c" in content_ids else {"attachment_info": info(content_id="<c>")}
    found = only_file(FILE, html='<img src="cid:c">', content_ids=content_ids, **known)
    assert (found.is_inline(), found.content_id) == (True, "c")


@pytest.mark.parametrize("bodies", [{}, {"text": "t"}, {"html": "<img src='cid:b'>"}, {"html": "cid:"}])
def test_a_file_that_the_html_does_not_show_is_an_attachment_despite_its_content_id(
    bodies: dict[str, str],
) -> None:
    """Gmail gives each attachment a content id."""
    message = read_parsed(MESSAGE_ID, FILE, attachment_info=info(content_id="f_a"), **bodies).message
    assert [(file.content_id, file.is_attachment()) for file in message.attachments] == [("f_a", True)]
    assert message.inlines == []
    assert message.content_id_map == {}


@pytest.mark.parametrize(
    "attachment_info", ["", "[]", "{", '{"attachment1": []}', '{"attachment1": {"filename": 1}}', '"x"']
)
def test_a_file_without_valid_attachment_info_is_read(attachment_info: str) -> None:
    found = only_file(FILE, attachment_info=attachment_info, attachments="7")
    assert (found.get_filename(), found.get_content_type()) == ("a.pdf", "application/pdf")
    assert found.get_content_bytes() == b"%PDF"


@pytest.mark.parametrize(
    ("filename", "told", "expected"),
    [
        ("a.pdf", {"filename": 'a "b".pdf'}, 'a "b".pdf'),
        ("ü.pdf", {"filename": "\ufffd.pdf"}, "ü.pdf"),
        ("ü.pdf", {}, "ü.pdf"),
        ("\udcfc.pdf", {}, "ü.pdf"),
        ("", {"filename": "", "name": "n.pdf"}, "n.pdf"),
        ("", {}, None),
        ("=?utf-8?q?=C3=BC.pdf?=", {}, "ü.pdf"),
        ("a.pdf", {"filename": "a\r\nb\0\t;'%.pdf"}, "a b\t;'%.pdf"),
        ("a.pdf", {"filename": "../private/b.pdf"}, "b.pdf"),
        ("a.pdf", {"filename": "\\\\share\\mail\\forwarded.msg"}, "forwarded.msg"),
        ("C:\\b.pdf", {}, "b.pdf"),
        ("a.pdf", {"filename": "folder/.."}, None),
        ("a.pdf", {"filename": "folder/"}, None),
    ],
)
def test_a_file_name_is_taken_from_the_best_source(
    filename: str, told: dict[str, str], expected: str | None
) -> None:
    assert (
        only_file(FILE._replace(filename=filename), attachment_info=info(**told)).get_filename() == expected
    )


def test_a_file_name_is_decoded_in_its_named_charset() -> None:
    file = FILE._replace(filename="\udc81.pdf")
    assert only_file(file, charsets='{"filename": "cp850"}').get_filename() == "ü.pdf"


def test_the_charset_of_a_file_is_kept() -> None:
    file = Part("attachment1", "ü".encode("cp850"), "a.txt", "text/plain; charset=cp850")
    assert only_file(file).get_content_text() == "ü"
    told = file._replace(content_type="text/plain")
    assert only_file(told, attachment_info=info(charset="cp850")).get_content_text() == "ü"


def test_the_parameters_of_a_files_type_are_kept() -> None:
    file = only_file(
        FILE, attachment_info=info(type="text/calendar; method=REQUEST\r\nX: y", charset="utf-8")
    )
    assert file.get_content_type() == "text/calendar"
    assert (file.get_param("method"), file.get_content_charset()) == ("REQUEST", "utf-8")
    assert file.keys() == ["Content-Type", "Content-Disposition", "Content-Transfer-Encoding"]


@pytest.mark.parametrize("kind", ["multipart/mixed", "text", "a/b\r\nX: y", "", "text; a/b"])
def test_an_invalid_content_type_of_a_file_is_replaced(kind: str) -> None:
    found = only_file(FILE._replace(content_type=""), attachment_info=info(type=kind))
    assert found.get_content_type() == "application/octet-stream"
    assert found.keys() == ["Content-Type", "Content-Disposition", "Content-Transfer-Encoding"]


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: x\r\n\r\nbody\r\n",
        b"Subject: x\n\nbody",
        b"Subject:x\n",
        b"\0\xff",
        b"",
        b"Content-Type: message/rfc822\n\n" * 200,
    ],
)
def test_an_attached_mail_is_kept_byte_for_byte(content: bytes) -> None:
    found = only_file(Part("attachment1", content, "", "message/rfc822"))
    assert found.get_content_bytes() == content


def test_an_attached_mail_is_readable_as_a_message() -> None:
    found = only_file(Part("attachment1", b"Subject: x\r\n\r\nbody\r\n", "", "message/rfc822"))
    inside = found.get_payload(0)
    assert isinstance(inside, InboundMessage)
    assert inside.subject == "x"


@pytest.mark.parametrize(
    "mail",
    [
        b"".join(b"X-%d: y\n" % at for at in range(MOST_HEADER_BYTES // 20)) + b"\nx",
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * (MOST_PARTS // 2) + b"--b--\n",
    ],
    ids=["headers", "parts"],
)
def test_the_limits_of_a_mail_include_all_attached_mails(mail: bytes) -> None:
    """Or a post could keep a worker for minutes."""
    files = [Part(f"attachment{at}", mail, "", "message/rfc822") for at in range(4)]
    attachments = read_parsed(MESSAGE_ID, *files).message.attachments
    assert {part.get_content_bytes() for part in attachments} == {mail}
    assert [part.is_multipart() for part in attachments] == [True, False, False, False]


def test_files_are_in_the_order_of_their_numbers() -> None:
    files = [FILE._replace(name=f"attachment{at}", content=str(at).encode()) for at in (10, 2, 1)]
    assert [part.get_content_bytes() for part in read_parsed(MESSAGE_ID, *files).message.attachments] == [
        b"1",
        b"2",
        b"10",
    ]


def test_files_that_the_html_shows_are_in_order_whatever_their_type() -> None:
    info = {
        f"attachment{at}": {"filename": f"{at}", "type": content_type, "content-id": f"id{at}"}
        for at, content_type in enumerate(("text/plain", "image/png", "text/html"), 1)
    }
    files = [Part(name, b"x", name) for name in info]
    html = '<img src="cid:id1"><img src="cid:id2"><img src="cid:id3">'
    message = read_parsed(MESSAGE_ID, *files, html=html, attachment_info=json.dumps(info)).message
    assert [file.content_id for file in message.inlines] == ["id1", "id2", "id3"]
    assert (message.text, message.html) == (None, html)


def test_the_written_mail_is_readable_by_the_standard_library() -> None:
    message = read_parsed("Subject: x\n", FILE, text="Grüße\r\n", html="<p>").message
    again = message_from_bytes(message.as_bytes(), policy=POLICY)
    assert again["Subject"] == "x"
    assert [part.get_content_type() for part in again.walk()] == [
        part.get_content_type() for part in message.walk()
    ]
    assert again.get_body().get_content() == "<p>"  # type: ignore[attr-defined]
