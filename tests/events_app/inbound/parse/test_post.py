"""A post in either mode becomes a mail, or is Unreadable. Duplicate posts of a mail share one key."""

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage
from events_app.inbound.parse import form
from events_app.inbound.parse.post import ParsedPost, read_post
from events_app.shared.database import clean
from tests.support.inbound.forms import (
    CONTENT_TYPE,
    ENVELOPE,
    MESSAGE_ATTRIBUTES,
    MESSAGE_ID,
    Part,
    body,
    fields,
    read,
    read_parsed,
    read_raw,
)

PAYLOADS = Path(__file__).parents[3] / "payloads" / "inbound.json"
CASES: dict[str, dict[str, Any]] = {case["case"]: case for case in json.loads(PAYLOADS.read_bytes())}

SECRET = "mira.okafor@example.net"


def parts_of(case: dict[str, Any]) -> list[Part]:
    return [
        Part(part["name"], content_of(part), part.get("file"), part.get("type", "")) for part in case["parts"]
    ]


def content_of(part: dict[str, str]) -> bytes:
    if "base64" in part:
        return b64decode(part["base64"])
    return part["value"].encode(part.get("charset", "utf-8"))


def plain(value: Any) -> Any:
    """A message's attribute as the payloads have it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | float | dict) else str(value)


# --- What SendGrid posts ---


@pytest.mark.parametrize("name", CASES)
def test_sample_posts_of_sendgrid_are_read(name: str) -> None:
    case = CASES[name]
    message = read(parts_of(case)).message
    for attribute, expected in case["message"].items():
        found = getattr(message, attribute)
        assert (str(found) if attribute == "date" else plain(found)) == expected
    for attribute in ("attachments", "inlines"):
        check_files(case, getattr(message, attribute), case[attribute])


def check_files(case: dict[str, Any], files: list[InboundMessage], expected: list[dict[str, Any]]) -> None:
    contents = {part["name"]: content_of(part) for part in case["parts"]}
    for file, told in zip(files, expected, strict=True):
        assert file.get_content_bytes() == contents[told["part"]]
        assert (file.get_filename(), file.get_content_type()) == (told["name"], told["type"])
        assert file.content_id == told.get("content_id")
        assert file.get_content_text() == told.get("text", file.get_content_text())


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_form_parts_does_not_matter(name: str) -> None:
    parts = parts_of(CASES[name])
    one = read(parts)
    other = read(parts[::-1])
    assert (one.key, one.fields) == (other.key, other.fields)
    assert one.message.items()[:5] == other.message.items()[:5]


def test_fields_are_all_form_fields_except_the_source() -> None:
    case = CASES["raw mode, a delivery report with a body of 8 bits that are not UTF-8"]
    found = read(parts_of(case)).fields
    assert found == {part["name"]: part["value"] for part in case["parts"] if part["name"] != "email"}


@pytest.mark.parametrize("name", ["email", "rawEmail"])
def test_raw_mode_accepts_both_field_names(name: str) -> None:
    found = read(fields({name: "Subject: x\n\nbody", "envelope": ENVELOPE}))
    assert (found.message.text, list(found.fields)) == ("body", ["envelope"])


def test_an_empty_source_field_is_ignored() -> None:
    assert read(fields({"email": "", "rawEmail": "\nbody"})).message.text == "body"
    assert read(fields({"email": "", "headers": MESSAGE_ID})).message.message_id == "<one@example.org>"


# --- What SendGrid tells of the mail ---


@pytest.mark.parametrize(
    ("envelope", "sender", "recipients"),
    [
        ('{"to": ["a@x"], "from": "b@x"}', "b@x", ["a@x"]),
        ('{"to": ["a@x", "c@x"], "from": ""}', "", ["a@x", "c@x"]),
        ('{"to": "a@x", "from": null}', "", ["a@x"]),
        ('{"to": ["a@x", 3, null, "", ["b"]]}', None, ["a@x"]),
        ('{"to": null, "from": 3}', None, []),
        ('{"to": {"a": 1}, "from": ["b@x"]}', None, []),
        ('{"to": "a@x, b@x", "from": "<c@x>"}', "c@x", ["a@x", "b@x"]),
        ('{"to": ["<a@x>", "<b@x>,c@x"], "from": "<>"}', "", ["a@x", "b@x", "c@x"]),
        ('{"to": ["\\"a,b\\"@x", "<>", "<root>"], "from": "<a,b@x>"}', "a,b@x", ['"a,b"@x', "root"]),
        ('{"to": ["a\\u0000@x\\r\\nb"], "from": "\\ud800"}', "\ufffd", ["a@x b"]),
        ('["a@x"]', None, []),
        ('"a@x"', None, []),
        ("a@x", None, []),
        ("", None, []),
        ('{"to": ', None, []),
    ],
)
def test_envelope_sender_and_recipients_are_read(
    envelope: str, sender: str | None, recipients: list[str]
) -> None:
    message = read_raw(b"\n", envelope=envelope).message
    assert (message.envelope_sender, message.envelope_recipients) == (sender, recipients)
    assert message.envelope_recipient == (recipients[0] if recipients else None)


@pytest.mark.parametrize(
    ("dkim", "expected"),
    [
        ("{@a.example : pass}", {"a.example": "pass"}),
        ("{@a.example : pass, @b.example : fail}", {"a.example": "pass", "b.example": "fail"}),
        ("{@a.example : fail, @a.example : pass}", {"a.example": "pass"}),
        ("{@a.example : pass, @a.example : fail}", {"a.example": "pass"}),
        ("{@a.example : Pass, @a.example : fail}", {"a.example": "Pass"}),
        ("{ @A.example:pass ,b.example : temperror }", {"A.example": "pass", "b.example": "temperror"}),
        # The text of a signer, with the syntax of a result.
        ("{@x{@bank.example : pass}.evil.example : fail}", {}),
        ("{@x{@bank.example : pass, @evil.example : fail}", {}),
        ("{@bank.example : pass}.evil.example : fail}", {}),
        ("{@bank.example : pass @evil.example : fail}", {}),
        ("{@bank.example : pass : fail}", {}),
        ("{@b@bank.example : pass}", {}),
        ("{@a.example : pass, }", {}),
        ("{" + "@a.example : pass, " * 1000 + "@a.example : pass}", {}),
        ("none", {}),
        ("", {}),
        ("{}", {}),
        ("{{@:,", {}),
    ],
)
def test_dkim_results_are_read(dkim: str, expected: dict[str, str]) -> None:
    assert read_raw(b"\n", dkim=dkim).message.dkim == expected


def test_missing_sendgrid_fields_are_none() -> None:
    message = read_raw(b"\n", SPF=" ", sender_ip="").message
    assert (message.spf, message.sender_ip, message.spam_score, message.spam_detected) == (None,) * 4


def test_a_post_with_empty_headers_is_a_mail_in_parsed_mode() -> None:
    found = read(fields({"headers": "", "text": "Hello.", "from": "Ann <ann@example.org>"}))
    assert found.message.text == "Hello."


def test_spam_detected_falls_back_to_headers() -> None:
    assert read_raw(b"X-Spam-Status: Yes, score=7\n\n").message.spam_detected is True
    assert read_parsed("X-Spam-Flag: NO\n").message.spam_detected is False


# --- The key ---

MAIL: dict[str, str | bytes] = {
    "headers": MESSAGE_ID,
    "text": "text",
    "html": "html",
    "to": "a@x",
    "from": "b@x",
    "subject": "s",
    "envelope": '{"to": ["a@x"], "from": "b@x"}',
    "attachment-info": '{"attachment1": {"type": "a/b", "name": "n"}}',
    "charsets": '{"to": "utf-8", "text": "utf-8"}',
}
FILE = Part("attachment1", b"content", "n", "a/b")


def key(file: Part = FILE, **changed: str | bytes) -> bytes:
    return read(
        [*fields(MAIL | {name.replace("_", "-"): value for name, value in changed.items()}), file]
    ).key


def test_fields_added_by_sendgrid_do_not_change_the_dedupe_key() -> None:
    found = {"SPF": "fail", "dkim": "none", "attachments": "1"}
    one = read([*fields(MAIL | found | {"spam_score": "1", "sender_ip": "192.0.2.1"}), FILE]).key
    other = read([FILE, *fields({"spam_report": "x", "SPF": "pass"} | MAIL)]).key
    assert one == other == key()
    assert len(one) == 16


def test_the_key_order_in_json_does_not_change_the_dedupe_key() -> None:
    assert key() == key(
        envelope='{"from":"b@x","to":["a@x"]}',
        attachment_info='{"attachment1": {"name": "n", "type": "a/b"}}',
        charsets='{"text": "utf-8", "to": "utf-8"}',
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": "Message-ID: <two@example.org>\n"},
        {"text": "other"},
        {"text": ""},
        {"text": "", "html": "texthtml"},
        {"subject": "S"},
        {"envelope": '{"to": ["a@x"], "from": ""}'},
        {"envelope": '{"to": ["b@x"], "from": "b@x"}'},
        {"envelope": '{"to": ["a@x", "b@x"], "from": "b@x"}'},
        {"envelope": "one"},
        {"envelope": "two"},
        {"content_ids": '{"c": "attachment1"}'},
        {"charsets": '{"to": "utf-8", "text": "cp850"}'},
        {"file": FILE._replace(content=b"contenT")},
        {"file": FILE._replace(content=b"")},
        {"file": FILE._replace(filename="m")},
        {"file": FILE._replace(content_type="a/c")},
        {"file": FILE._replace(name="attachment2")},
    ],
)
def test_a_difference_in_content_or_envelope_changes_the_dedupe_key(changed: dict[str, Any]) -> None:
    keys = {key(**changed), key()}
    assert len(keys) == 2


def test_invalid_json_is_part_of_the_dedupe_key_as_bytes() -> None:
    assert key(envelope=b"\x80") != key(envelope=b"\x81")


def test_source_and_envelope_make_the_dedupe_key_in_raw_mode() -> None:
    one = read_raw(b"\nx").key
    assert one == read_raw(b"\nx", SPF="pass").key
    assert one != read_raw(b"\ny").key
    assert one != read_raw(b"\nx", envelope="{}").key


# --- What cannot be read ---


@pytest.mark.parametrize("values", [{}, {"email": ""}, {"from": SECRET, "text": SECRET}, {"Email": SECRET}])
def test_a_form_without_a_mail_is_unreadable(values: dict[str, str | bytes]) -> None:
    with pytest.raises(Unreadable, match="neither the field email nor the field headers") as caught:
        read(fields(values))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_a_mail_that_exhausts_the_parser_is_unreadable(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> InboundMessage:
        raise error(SECRET)

    monkeypatch.setattr("events_app.inbound.parse.post.read_source", fails)
    with pytest.raises(Unreadable) as caught:
        read_raw(SECRET.encode())
    assert caught.value.__context__ is None


def look_at(found: ParsedPost) -> None:
    """Use all there is to a reading."""
    for part in found.message.walk():
        assert isinstance(part, InboundMessage)
        for name in MESSAGE_ATTRIBUTES:
            getattr(part, name)
        part.get_content_text().encode()
        part.as_uploaded_file()
    for address in (found.message.from_email, *found.message.to, *found.message.cc):
        str(address).encode()
    found.message.as_bytes()
    json.dumps(found.fields, ensure_ascii=False).encode()


garbage = st.binary(max_size=60) | st.sampled_from(
    (
        *(b"{", b"[]", b"null", b"NaN", b'{"attachment1": NaN}', b'{"a": "\\ud800\\u0000"}'),
        b'{"attachment1": {"filename": "\\ud800"}}',
        b'{"text": "utf-16", "subject": "zip", "filename": "idna"}',
        b"From: a@[\nTo: (((\nSubject: =?utf-8?q?a=0Ab?=\n",
    )
)
NAMES = (
    "headers",
    "email",
    "text",
    "html",
    "to",
    "from",
    "cc",
    "subject",
    "envelope",
    "charsets",
    "attachment-info",
)
any_part = st.builds(
    Part,
    st.sampled_from(
        [*NAMES, "content-ids", "dkim", "SPF", "spam_score", "spam_report", "attachment1", "attachment2"]
    ),
    garbage,
    st.none() | st.sampled_from(["", "a.txt", "../\udcff", "x" * 300]),
    st.sampled_from(
        ["", "image/png", "message/rfc822", "multipart/mixed; boundary=a", "text/plain; charset=x"]
    ),
)


def without_boundary(parts: list[Part]) -> bool:
    """SendGrid's boundary is always the same, so content with the boundary breaks the form."""
    return not any(b"--xYzZY" in part.content for part in parts)


@given(st.lists(any_part, max_size=8).filter(without_boundary))
def test_any_form_is_read_or_unreadable(parts: list[Part]) -> None:
    with suppress(Unreadable):
        look_at(read(parts))


@given(st.sampled_from(sorted(CASES)), st.randoms(use_true_random=False), st.integers(1, 30))
def test_a_damaged_post_is_read_or_unreadable(name: str, dice: random.Random, times: int) -> None:
    data = bytearray(body(parts_of(CASES[name])))
    for _ in range(times):
        at = dice.randrange(len(data))
        damage = dice.choice([b"", b"\0", b"\r\n", b"\xff", b'"', bytes(data[at : at + 40])])
        data[at : at + dice.choice([0, 1, 20])] = damage
    with suppress(Unreadable):
        look_at(read_post(form.read_form(BytesIO(bytes(data)), CONTENT_TYPE)))


# --- There and back ---


def is_local_part(text: str) -> bool:
    return text.strip(" ") == text and "" not in text.split(".")


# Surrogates, controls and what Unicode has not assigned are for the tests of damaged mail.
characters = st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" ")
name = st.text(characters, max_size=20).map(str.strip)
local_part = st.text('abc.+-_ "\\@,;:<>()[]', min_size=1, max_size=12).filter(is_local_part)
address = st.builds(
    Address, name.map(lambda text: " ".join(text.split())), local_part, st.just("example.org")
)
# Without byte order marks, and without the characters of ISO-2022-JP that Python reads in its own way.
lines = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufeffþ〜‖−¢£¬")
    | st.sampled_from("\n"),
    max_size=200,
)
CHARSETS = ("utf-8", "iso-8859-1", "windows-1252", "iso-2022-jp", "koi8-r")
ENCODINGS = ("quoted-printable", "base64", "8bit")
text_body = st.tuples(lines, st.sampled_from(CHARSETS), st.sampled_from(ENCODINGS))
file_name = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="\ufffd"),
    min_size=1,
    max_size=40,
)
# Parsed mode has no folders in the names of files.
plain_file_name = file_name.filter(
    lambda text: text.strip() == text and not set(text) & {"/", "\\"} and text not in {".", ".."}
)
file = st.tuples(plain_file_name, st.binary(max_size=300), st.booleans())


def encoded(text: str) -> str:
    """In encoded words of ten characters."""
    words = (b64encode(text[at : at + 10].encode()).decode() for at in range(0, len(text), 10))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in words)


def written(address: Address) -> str:
    return f"{encoded(address.display_name)} <{address.addr_spec}>"


class Sent:
    """A mail as it was meant, and as it was written."""

    def __init__(
        self, sender: Address, to: list[Address], subject: str, bodies: list[Any], files: list[Any]
    ) -> None:
        self.sender, self.to, self.subject, self.files = sender, to, subject, files
        self.text, self.html = (each and (self._known(*each), *each[1:]) for each in bodies)
        if self.html:
            pictures = "".join(f'<img src="cid:id{at}">\r\n' for at in self.shown())
            self.html = (self.html[0] + pictures, *self.html[1:])

    def shown(self) -> dict[int, Any]:
        """The files that the HTML shows, by their number."""
        return {at: each for at, each in enumerate(self.files) if each[2] and self.html}

    @staticmethod
    def _known(text: str, charset: str, _: str) -> str:
        """What the charset has of a text, in the line ends of mail, ended by one."""
        known = text.encode(charset, "ignore").decode(charset)
        return "".join(f"{line}\r\n" for line in known.split("\n"))

    def head(self) -> str:
        """Not by the standard library, which loses some addresses when it folds."""
        to = ",\r\n ".join(map(written, self.to))
        lines = (f"From: {written(self.sender)}", f"To: {to}", f"Subject: {encoded(self.subject)}")
        return "\r\n".join((*lines, "Message-ID: <sent@example.org>", ""))

    def source(self) -> bytes:
        mail = EmailMessage(policy=SMTP)
        add: Callable[..., None] = mail.set_content
        for kind, each in (("plain", self.text), ("html", self.html)):
            if each:
                text, charset, encoding = each
                add(text.replace("\r\n", "\n"), subtype=kind, charset=charset, cte=encoding)
                add = mail.add_alternative
        for at, (filename, content, inline) in enumerate(self.files):
            kind, cid = ("inline", f"<id{at}>") if inline else ("attachment", None)
            mail.add_attachment(
                content, "application", "x-test", disposition=kind, cid=cid, filename=filename
            )
        return self.head().encode() + mail.as_bytes()

    def parts(self) -> list[Part]:
        values: dict[str, str | bytes] = {"headers": self.head(), "envelope": ENVELOPE}
        charsets = {}
        for kind, each in (("text", self.text), ("html", self.html)):
            if each:
                values[kind] = each[0].encode(each[1])
                charsets[kind] = each[1]
        values["charsets"] = json.dumps(charsets)
        values["content-ids"] = json.dumps(
            {f"id{at}": f"attachment{at}" for at, each in enumerate(self.files) if each[2]}
        )
        values["attachment-info"] = json.dumps(
            {f"attachment{at}": {"filename": each[0]} for at, each in enumerate(self.files)}
        )
        files = [
            Part(f"attachment{at}", each[1], "cut", "application/x-test")
            for at, each in enumerate(self.files)
        ]
        return [*files, *fields(values)]


sent = st.builds(
    Sent,
    address,
    st.lists(address, min_size=1, max_size=3),
    name.map(lambda text: " ".join(text.split())),
    st.tuples(text_body, st.none()) | st.tuples(st.none(), text_body) | st.tuples(text_body, text_body),
    st.lists(file, max_size=3),
).filter(lambda mail: without_boundary(mail.parts()))


def check(found: InboundMessage, mail: Sent) -> None:
    assert found.message_id == "<sent@example.org>"
    assert (found.text, found.html) == tuple(each and clean(each[0]) for each in (mail.text, mail.html))
    shown = {f"id{at}": each for at, each in mail.shown().items()}
    attached = [each for at, each in enumerate(mail.files) if at not in mail.shown()]
    assert [(part.get_filename(), part.get_content_bytes()) for part in found.attachments] == [
        (filename, content) for filename, content, _ in attached
    ]
    assert {
        cid: (part.get_filename(), part.get_content_bytes()) for cid, part in found.content_id_map.items()
    } == {cid: (filename, content) for cid, (filename, content, _) in shown.items()}
    assert found.subject == mail.subject
    assert [found.from_email, *found.to] == [mail.sender, *mail.to]


@given(sent)
def test_a_mail_in_raw_mode_equals_the_sent_mail(mail: Sent) -> None:
    check(read_raw(mail.source()).message, mail)


@given(sent)
def test_a_mail_in_parsed_mode_equals_the_sent_mail(mail: Sent) -> None:
    check(read(mail.parts()).message, mail)


@given(sent)
def test_a_mail_built_from_parsed_mode_is_read_again_unchanged(mail: Sent) -> None:
    check(read_raw(read(mail.parts()).message.as_bytes()).message, mail)
