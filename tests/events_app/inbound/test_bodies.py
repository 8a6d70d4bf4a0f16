"""Each part of a mail is a body, a file, or an alternative of a body."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from tests.support.inbound.sources import contents, parse_source


class Leaf(NamedTuple):
    content: str
    head: str = "Content-Type: text/plain"


class Multipart(NamedTuple):
    subtype: str
    parts: "list[Leaf | Multipart]"


def source(part: Leaf | Multipart, numbers: Iterator[int]) -> str:
    if isinstance(part, Leaf):
        return f"{part.head}\n\n{part.content}"
    boundary = f"b{next(numbers)}"
    inside = "".join(f"--{boundary}\n{source(inner, numbers)}\n" for inner in part.parts)
    return f"Content-Type: multipart/{part.subtype}; boundary={boundary}\n\n{inside}--{boundary}--\n"


def read(subtype: str, *parts: Leaf | Multipart) -> InboundMessage:
    return parse_source(source(Multipart(subtype, list(parts)), count()).encode())


def html(content: str, more: str = "") -> Leaf:
    return Leaf(content, f"Content-Type: text/html{more}")


def text(content: str, more: str = "") -> Leaf:
    return Leaf(content, f"Content-Type: text/plain{more}")


def related(*parts: Leaf | Multipart) -> Multipart:
    return Multipart("related", list(parts))


PLAIN = Leaf("plain")
PDF = Leaf("%PDF", "Content-Type: application/pdf; name=a.pdf")
CID = "\nContent-ID: <x>"
SHOWS_X = html("<img src=cid:x>")


@pytest.mark.parametrize(
    ("message", "plain", "rich", "attachments", "inlines"),
    [
        # The first alternative that is not empty.
        (read("alternative", html(" \n"), html("real")), None, "real", [], []),
        (read("alternative", text(""), text("real"), html("")), "real", "", [], []),
        (read("alternative", html(""), html(" ")), None, "", [], []),
        (read("alternative", html(""), PDF, related(html("real"))), None, "real", ["%PDF"], []),
        (read("alternative", html("one"), PDF, html("two")), None, "one", ["%PDF"], []),
        (
            read("alternative", Multipart("mixed", [PLAIN, html("file", "; name=a")]), html("real")),
            *("plain", "real", ["file"], []),
        ),
        (
            read(
                "alternative", html("=20=20", "\nContent-Transfer-Encoding: quoted-printable"), html("real")
            ),
            *(None, "real", [], []),
        ),
        (read("alternative", html(" " * 2000), html("real")), None, " " * 2000, [], []),
        # A report and a signed mail have a single body; further texts are files.
        (read("report", text("notice"), text("550 mailbox full")), "notice", None, ["550 mailbox full"], []),
        (
            read("signed", PLAIN, Leaf("=", "Content-Type: application/pgp-signature"), text("footer")),
            *("plain", None, ["=", "footer"], []),
        ),
        # In multipart/related, a part with a content id is a file.
        (read("related", html("<p>"), html("two", CID)), None, "<p>", ["two"], []),
        (read("related", SHOWS_X, html("two", CID)), None, SHOWS_X.content, [], ["two"]),
        (read("mixed", SHOWS_X, html("two", CID)), None, SHOWS_X.content, [], ["two"]),
        (read("mixed", SHOWS_X, text("two", CID)), None, SHOWS_X.content, [], ["two"]),
        (read("mixed", html("<p>"), html("two", CID)), None, "<p>\ntwo", [], []),
        (read("alternative", text("one", CID), SHOWS_X), "one", SHOWS_X.content, [], []),
        # A named text is a file, and a body only in a mail of files.
        (
            read("mixed", text("notes", "; name=notes.txt\nContent-Disposition: inline"), PLAIN),
            *("plain", None, ["notes"], []),
        ),
        (read("mixed", PLAIN, html("bill", "; name=bill.html")), "plain", None, ["bill"], []),
        (read("mixed", html("<p>"), text("notes", "; name=notes.txt")), None, "<p>", ["notes"], []),
        (read("mixed", text("notes", "; name=notes.txt"), PDF), "notes", None, ["notes", "%PDF"], []),
        (read("mixed", text("a", "; name=a.txt"), text("b", "; name=b.txt")), "a", None, ["a", "b"], []),
        # The name of an alternative names no file.
        (read("alternative", PLAIN, html("<p>", "; name=a.html")), "plain", "<p>", [], []),
        (read("alternative", PLAIN, related(html("<p>", "; name=a.html"))), "plain", "<p>", [], []),
        (read("alternative", PLAIN, text("notes", "; name=notes.txt")), "plain", None, ["notes"], []),
        (
            read("alternative", PLAIN, Multipart("mixed", [html("<p>"), html("bill", "; name=bill.html")])),
            *("plain", "<p>", ["bill"], []),
        ),
    ],
)
def test_no_text_is_lost(
    message: InboundMessage, plain: str | None, rich: str | None, attachments: list[str], inlines: list[str]
) -> None:
    assert (message.text, message.html) == (plain, rich)
    assert contents(message.attachments) == [content.encode() for content in attachments]
    assert contents(message.inlines) == [content.encode() for content in inlines]


def test_a_mail_that_is_a_named_text_is_a_body_and_a_file() -> None:
    message = parse_source(source(text("notes", "; name=notes.txt"), count()).encode())
    assert message.text == "notes"
    assert message.attachments == [message]


heads = st.builds(
    "Content-Type: {}{}{}{}".format,
    st.sampled_from(["text/plain", "text/html", "text/html", "text/calendar", "image/png"]),
    st.sampled_from(["", "", "; name=a"]),
    st.sampled_from(
        ["", "", *(f"\nContent-ID: <id{number}>" for number in range(3)), "\nContent-Location: a"]
    ),
    st.sampled_from(["", "", *(f"\nContent-Disposition: {word}" for word in ("inline", "attachment"))]),
)
leaves = st.builds(
    Leaf, st.sampled_from(["", "", " ", *(f"<a href='cid:id{number}'>" for number in range(3))]), heads
)
subtypes = st.sampled_from(["mixed", "alternative", "related", "report", "signed", "unheard-of"])
trees: st.SearchStrategy[Leaf | Multipart] = st.recursive(
    leaves,
    lambda parts: st.builds(Multipart, subtypes, st.lists(parts, min_size=1, max_size=5)),
    max_leaves=12,
)


def with_tokens(part: Leaf | Multipart, numbers: Iterator[int]) -> Leaf | Multipart:
    """The tree with a unique text in each content that is not empty."""
    if isinstance(part, Multipart):
        return Multipart(part.subtype, [with_tokens(inner, numbers) for inner in part.parts])
    return Leaf(f"{part.content} <{next(numbers)}>" if part.content.strip() else part.content, part.head)


def alternatives(part: InboundMessage, *, among: bool = False) -> Iterator[InboundMessage]:
    """The unnamed texts among several alternatives."""
    if part.is_multipart():
        several = part.get_content_subtype() == "alternative" and len(part.get_payload()) > 1
        for inner in part.iter_parts():
            assert isinstance(inner, InboundMessage)
            yield from alternatives(inner, among=among or several)
    elif among and part.get_content_maintype() == "text" and part.get_filename() is None:
        yield part


@given(trees)
def test_every_part_of_any_mail_is_a_body_a_file_or_an_alternative(tree: Leaf | Multipart) -> None:
    message = parse_source(source(with_tokens(tree, count()), count()).encode())
    bodies = (message.text or "") + (message.html or "")
    files = [*message.attachments, *message.inlines]
    assert len({id(file) for file in files}) == len(files)
    may_be_left_out = [id(part) for part in alternatives(message)]
    for leaf in (part for part in message.walk() if not part.is_multipart()):
        is_body = leaf.get_content_text().strip() in bodies
        is_file = any(file is leaf for file in files)
        assert is_body or is_file or id(leaf) in may_be_left_out
        # Only a named text may be both.
        assert (
            not (is_body and is_file and leaf.get_content_text().strip()) or leaf.get_filename() is not None
        )
    for kind, body in (("text/plain", message.text), ("text/html", message.html)):
        texts = [part for part in alternatives(message) if part.get_content_type() == kind]
        if any(part.get_content_text().strip() and not part.is_attachment() for part in texts):
            assert body is not None or any(part in files for part in texts)
