"""`./dev bench hostile`: CPU time of a worker for mails designed to be slow to parse, at sizes n, 2n and 4n.

Each mail is parsed in its own process, and every property that a receiver can read is read. A refused mail (a
dead letter) counts as parsed. The goal limits the time at 4n, minus that of a plain mail of as many bytes.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import django
from django.conf import settings

#: The most CPU seconds of a mail, beyond those of a plain mail of its size.
GOAL = 2.0

#: CPU seconds after which the process is killed.
LONGEST = 15

_BOUNDARY = "xYzZY"
_CONTENT_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"


class Shape(NamedTuple):
    """A kind of hostile mail: the fields of its post by a size. `n` is the smallest measured size."""

    name: str
    n: int
    fields: Callable[[int], dict[str, bytes]]


def _raw(name: str, n: int, source: Callable[[int], bytes]) -> Shape:
    return Shape(name, n, lambda size: {"email": source(size)})


def _header(name: str, header: str, n: int, value: Callable[[int], str]) -> Shape:
    return _raw(f"{header}: {name}", n, lambda size: f"{header}: {value(size)}\n\nbody".encode())


def _body(name: str, n: int, kind: str, content: Callable[[int], bytes]) -> Shape:
    return _raw(f"{kind}: {name}", n, lambda size: b"Content-Type: %s\n\n%s" % (kind.encode(), content(size)))


def _parts(name: str, n: int, head: bytes) -> Shape:
    """A mail of `size` parts with the same header."""

    def source(size: int) -> bytes:
        parts = (b"--b\n" + head + b"\n\nx\n") * size
        return b"Content-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--\n"

    return _raw(f"parts: {name}", n, source)


def _nested(size: int, content: bytes) -> bytes:
    heads = (b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at) for at in range(size))
    return b"".join(heads) + b"\n" + content


def _rfc2231(size: int) -> str:
    return "; ".join(f"filename*{at}*=utf-8''%C3%BC" for at in range(size))


_ADDRESSES = (
    ("quotes", 4000, lambda n: '"' * n),
    ("a quoted string of quoted pairs", 100_000, lambda n: '"' + '\\"' * (n // 2) + '" <a@b.example>'),
    ("colons after words", 3000, lambda n: "a:" * n),
    ("commas, then colons", 750, lambda n: "," * 501 + ":" * n),
    ("colons, each after 500 quotes", 20, lambda n: ('"' * 500 + ":") * n),
    ("brackets", 4000, lambda n: "(" * n),
    ("angle brackets", 4000, lambda n: "<" * n),
    ("square brackets", 4000, lambda n: "a@[" * n),
    ("pairs of brackets", 4000, lambda n: "()" * n),
    ("words in angle brackets", 60_000, lambda n: "<x> " * n),
    ("angle brackets in quotes", 20_000, lambda n: '"a"=?x?q? <\\"' * n),
    ("names without an address", 60_000, lambda n: "a b," * n),
    ("routes", 4000, lambda n: "<" + "@a," * n + ":a@b>"),
    ("dots", 4000, lambda n: "a." * n),
    ("words", 4000, lambda n: "a " * n),
    ("backslashes", 4000, lambda n: "\\" * n),
    ("addresses", 4000, lambda n: "a@b.example, " * n),
    ("groups", 4000, lambda n: "a:b@c;, " * n),
    ("encoded words", 500, lambda n: "=?utf-8?q?a?= " * n),
    ("encoded words, 250,000 characters", 4000, lambda n: "=?utf-8?b?4pyT?= " * n),
    ("one long encoded word", 100_000, lambda n: "=?utf-8?q?" + "=41" * (n // 3) + "?="),
    ("unfinished encoded words", 4000, lambda n: "=?utf-8?q?" * n),
)

_PARAMETERS = (
    ("quotes", 4000, lambda n: "text/plain; a=" + '"' * n),
    ("semicolons and quotes", 4000, lambda n: "text/plain" + '; a="' * n),
    ("parameters", 4000, lambda n: "text/plain" + "".join(f"; a{at}=b" for at in range(n))),
    ("parts of one parameter", 400, lambda n: "text/plain; " + _rfc2231(n)),
    ("brackets", 4000, lambda n: "text/plain; " + "(" * n),
    ("percent signs", 4000, lambda n: "text/plain; filename*=utf-8''" + "%C3%BC" * n),
    ("backslashes in quotes", 4000, lambda n: 'text/plain; a="' + "\\" * n + '"'),
    ("spaces", 100_000, lambda n: "text/plain;" + " " * n + "a=b"),
)

_TEXTS = (
    ("line ends", 8_000_000, lambda n: b"\n" * n),
    ("quoted lines", 4_000_000, lambda n: b">\n" * n),
    ("quoted lines with a text", 2_000_000, lambda n: b"> a\n" * n),
    ("quoted lines after quoted lines", 500, lambda n: b">\n" * n + b"a\n"),
    ("introductions", 250, lambda n: b"On Mon, 1 Jan, a wrote\n" * n),
    ("many times On", 250, lambda n: b"On " * 160 + b"\n" + (b"On " * 160 + b"\n") * n),
    ("brackets after a date", 250, lambda n: (b"2020/1/1 a" + b" <@>" * 120 + b"\n") * n),
    ("names after names", 250, lambda n: (b"Op a" + b" heeft " * 60 + b"\n") * n),
    ("headers", 250, lambda n: b"From: a\nTo: b\n\n" * n),
    ("wrapped headers", 250, lambda n: (b"From: a@b\n" + b"<a@b>,\n" * 39) * n),
    ("attributions", 500, lambda n: b"On 1 Jan 2026 10:11, a <a@b> wrote:\n> a\nb\n" * n),
    ("verbs in the middle", 1000, lambda n: (b"Am 3" + b" schrieb " * 40 + b":\n") * n),
    ("words and colons", 1000, lambda n: (b"on " + b"a " * 190 + b":\n") * n),
    ("bytes that are none of the charset", 8_000_000, lambda n: b"\xff" * n),
    ("one line", 8_000_000, lambda n: b"a" * n),
)

_HTMLS = (
    ("open tags", 250_000, lambda n: b"<div>" * (n // 5)),
    ("open inline tags", 250_000, lambda n: b"<b>" * (n // 3)),
    ("closed tags", 250_000, lambda n: b"<p>a</p>" * (n // 8)),
    ("line breaks", 250_000, lambda n: b"<br>" * (n // 4)),
    ("less-than signs", 250_000, lambda n: b"<" * n),
    ("entities", 250_000, lambda n: b"&#60;" * (n // 5)),
    (
        "attributes of one tag",
        40_000,
        lambda n: b"<p " + b" ".join(b"a%d" % at for at in range(n)) + b">x</p>",
    ),
    (
        "attributes of one tag, with > in each",
        20_000,
        lambda n: b"<p " + b" ".join(b'a%d=">"' % at for at in range(n)) + b">x</p>",
    ),
    (
        "attributes after a comment that is none",
        40_000,
        lambda n: b"<!--><p " + b" ".join(b"a%d" % at for at in range(n)) + b">x</p>-->",
    ),
    ("one attribute in 200,000 tags", 50_000, lambda n: b"<p a=b>" * n),
    (
        "99 attributes in each tag",
        125,
        lambda n: (b"<p " + b" ".join(b"a%d" % a for a in range(99)) + b">") * n,
    ),
    ("a line of spans", 250_000, lambda n: b"<span>a</span>" * (n // 14)),
    ("brackets after a date", 25_000, lambda n: b"<p>" + b"2020/1/1 a &lt;@" * (n // 16) + b"</p>"),
    ("tags in 250 levels", 100_000, lambda n: b"<div>" * 250 + b"<b>a</b>" * (n // 8)),
    ("quotes with answers", 250_000, lambda n: b"<blockquote type=cite>a</blockquote>b" * (n // 37)),
    ("end tags of other elements", 250_000, lambda n: b"<i>" * (n // 7) + b"</b>" * (n // 7)),
    ("lines in pre", 250_000, lambda n: b"<pre>" + b"a\n" * (n // 2)),
    ("open values", 250_000, lambda n: b"<a b='<a b=\"" * (n // 12)),
    ("nested quotes", 250_000, lambda n: b"<blockquote>a" * (n // 13)),
    ("tables", 250_000, lambda n: b"<table><tr><td>a" * (n // 16)),
    ("comments", 250_000, lambda n: b"<!---->" * (n // 7)),
    ("open comments", 250_000, lambda n: b"<!-- " * (n // 5)),
    ("end tags", 250_000, lambda n: b"</p>" * (n // 4)),
    ("tags with colons", 250_000, lambda n: b"<o:p>a</o:p>" * (n // 12)),
    ("tags that are none", 250_000, lambda n: b"<a@b>x" * (n // 6)),
    ("tags that are none, after others", 3000, lambda n: b"<b></b><a@b></a@b>" * n),
    (
        "attributes of a tag with a control character",
        25_000,
        lambda n: b"<\x01p " + b" ".join(b"a%d" % at for at in range(n)) + b">x</p>",
    ),
    (
        "attributes of one character",
        5000,
        lambda n: ("<p " + " ".join(map(chr, range(0x4E00, 0x4E00 + n))) + ">x</p>").encode(),
    ),
    (
        "a quote after many tags",
        250_000,
        lambda n: b"<b></b>" * (n // 7) + b"<p>On 1 May 2026, 10:11, A wrote:</p><p>x</p>",
    ),
)


_JUNK = (
    *(("equal signs", b"="), ("lines", b"=\n"), ("digits", b"A"), ("not ASCII", b"\xff")),
    *(("lines of M", b"M#\n"), ("spaces", b" \t")),
)


def _encoded(name: str, encoding: str, junk: bytes) -> Shape:
    head = f"Content-Transfer-Encoding: {encoding}\n\nbegin 666 a\n".encode()
    return _raw(f"{encoding}: {name}", 8_000_000, lambda n: head + junk * (n // len(junk)))


def _json(name: str, n: int, field: str, value: Callable[[int], bytes]) -> Shape:
    return Shape(
        f"form: {field} of {name}", n, lambda size: {"headers": b"Message-ID: <a@b>\n", field: value(size)}
    )


def shapes() -> Iterator[Shape]:
    """Yield every shape."""
    yield from _headers()
    yield from _bodies()
    yield from _forms()


def _headers() -> Iterator[Shape]:
    yield _parts("quotes in Content-Type", 59, b"Content-Type: " + b'"' * 3990)
    yield _parts("quotes in a parameter", 59, b"Content-Type: a/b; c=" + b'"' * 3900)
    yield _parts("brackets in Content-Type", 225, b"Content-Type: " + b"(" * 900)
    yield _parts("square brackets in Content-Type", 225, b"Content-Type: " + b"[" * 900)
    yield _parts("parameters", 225, b"Content-Type: a/b" + b"; c=d" * 49)
    yield _parts("dispositions of words", 225, b"Content-Disposition: " + b"a " * 500)
    yield _parts("dispositions of percent signs", 225, b"Content-Disposition: a; b*=" + b"%41" * 300)
    yield _parts(
        "encoded words as file names",
        225,
        b'Content-Disposition: a; filename="' + b"=?x?q?a?= " * 90 + b'"',
    )
    yield _parts("transfer encodings of brackets", 225, b"Content-Transfer-Encoding: " + b"(" * 900)
    yield _parts("file names, each in 200 levels", 225, b"Content-Type: text/plain; name=" + b"/" * 200)
    yield _raw("headers: Received", 15_000, lambda n: b"Received: a\n" * n + b"\n")
    yield _raw("headers: of one letter", 80_000, lambda n: b"a:\n" * n + b"\n")
    yield _raw("headers: From", 5000, lambda n: b"From: a@b.example\n" * n + b"\n")
    yield _raw("headers: To, of 240 addresses", 100, lambda n: (b"To: " + b",a" * 240 + b"\n") * n + b"\n")
    yield _raw(
        "headers: To, of comments in comments",
        35,
        lambda n: (b"To: " + b",(aaaaaaaaaaaaaaaaaaaa" * 300 + b"\n") * n + b"\n",
    )
    yield _raw("headers: Content-Type", 10_000, lambda n: b"Content-Type: a/b; c=d\n" * n + b"\n")
    yield _raw("headers: dates", 10_000, lambda n: b"Date: 1 Jan 2026 (((\n" * n + b"\n")
    yield _raw("headers: one that is folded", 250_000, lambda n: b"Subject: a\n" + b" a\n" * (n // 3) + b"\n")
    yield _raw("headers: one of megabytes", 2_500_000, lambda n: b"Subject: " + b"a " * (n // 2) + b"\n\n")
    yield _raw("headers: one without a colon", 8_000_000, lambda n: b"a" * n)
    yield _raw("headers: none, but empty lines", 8_000_000, lambda n: b"\n" * n)
    yield _raw("headers: none, but indented lines", 8_000_000, lambda n: b" \n" * (n // 2))
    yield _raw("headers: envelopes", 8_000_000, lambda n: b"From a\n" * (n // 7))
    yield _raw(
        "headers: a line that is none, folded", 8_000_000, lambda n: b"a: b\nno\n" + b" c\n" * (n // 3)
    )
    yield _raw("headers: lines that are none", 5000, lambda n: b"a: b\nno header\nX-A: b\n" * n)
    for header in ("From", "Subject", "Date", "Message-ID", "References", "MIME-Version"):
        for name, n, value in _ADDRESSES:
            yield _header(name, header, n, value)
    for header in ("Content-Type", "Content-Disposition"):
        for name, n, value in _PARAMETERS:
            yield _header(name, header, n, value)


def _bodies() -> Iterator[Shape]:
    for name, n, content in _TEXTS:
        yield _body(name, n, "text/plain", content)
    for charset in (
        "ascii",
        "utf-7",
        "utf-16",
        "utf-32",
        "gb18030",
        "hz",
        "iso2022_jp",
        "cp1252",
        "cp932",
        "utf-8",
        "unicode_escape",
    ):
        yield _body(
            "bytes that are none of it",
            8_000_000,
            f"text/plain; charset={charset}",
            lambda n: b"\xff\x81" * (n // 2),
        )
        yield _body(
            "mostly right", 8_000_000, f"text/plain; charset={charset}", lambda n: b"abcd\xff" * (n // 5)
        )
    yield _body("one run of base64", 7_500_000, "text/plain; charset=utf-7", lambda n: b"\xff+" + b"A" * n)
    yield _body("ideographs", 500_000, "text/plain; charset=punycode", lambda n: b"a-" + b"a9" * (n // 2))
    for name, n, content in _HTMLS:
        yield _body(name, n, "text/html", content)
    yield _raw("multiparts: levels around text", 25, lambda n: _nested(n - 1, b"a" * 31_000_000))
    yield _raw("multiparts: levels around lines", 25, lambda n: _nested(n - 1, b"\n" * 31_000_000))
    yield _raw("multiparts: levels around near delimiters", 25, lambda n: _nested(n - 1, b"--b" * 10_000_000))
    yield _raw("multiparts: near delimiters", 2_000_000, lambda n: _nested(1, b"\n--b0" * (n // 5) + b"a"))
    yield _raw(
        "multiparts: near delimiters of 11 levels",
        7_500_000,
        lambda n: (
            b"".join(
                b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n" % (b"b" * at, b"b" * at)
                for at in range(11, 0, -1)
            )
            + b"\n--bbbbbbbbbbbx" * (n // 15)
        ),
    )
    yield _raw(
        "multiparts: delimiters and spaces", 2_000_000, lambda n: _nested(1, b"\n--b0" + b" " * n + b"a")
    )
    yield _raw(
        "multiparts: a boundary of dashes",
        8_000_000,
        lambda n: b"Content-Type: multipart/mixed; boundary=" + b"-" * 900 + b"\n\n" + b"-" * n,
    )
    yield _raw(
        "messages in messages",
        25,
        lambda n: b"Content-Type: message/rfc822\n\n" * (n - 1) + b"\n" * 31_000_000,
    )
    yield _raw(
        "messages in messages, lines",
        25,
        lambda n: b"Content-Type: message/rfc822\n\n" * (n - 1) + b"\n\n" + b"a\n" * 15_000_000,
    )
    yield _raw(
        "delivery status: blank lines",
        2_000_000,
        lambda n: b"Content-Type: message/delivery-status\n\n" + b"a:b\n" + b" \n" * (n // 2),
    )
    yield _raw(
        "boundaries: not declared, of short lines",
        2_000_000,
        lambda n: b"Content-Type: multipart/mixed\n\n" + b"--a\n" * (n // 4),
    )
    yield _raw(
        "boundaries: not declared, each different",
        2_000_000,
        lambda n: b"Content-Type: multipart/mixed\n\n" + b"".join(b"--a%d\n" % at for at in range(n // 10)),
    )
    yield _raw(
        "boundaries: not declared, of spaces",
        2_000_000,
        lambda n: b"Content-Type: multipart/mixed\n\n" + (b"--a" + b" " * 20_000 + b"b\n") * (n // 20_000),
    )
    yield _raw(
        "boundaries: not declared, in 90 levels",
        2_000_000,
        lambda n: (
            b"".join(
                b"Content-Type: multipart/mixed\n\n--b%d\nContent-Language: x\n" % at for at in range(90)
            )
            + b"\n"
            + b"--c\n" * (n // 4)
        ),
    )
    yield _raw(
        "boundaries: declared for 90 levels, and lines",
        2_000_000,
        lambda n: _nested(90, b"a\n" * (n // 2)),
    )
    yield _raw(
        "boundaries: one for all levels",
        24,
        lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * n + b"\n" + b"\n--b--" * n,
    )
    yield _raw(
        "delivery status: blocks",
        225,
        lambda n: b"Content-Type: message/delivery-status\n\n" + b"a:b\n\n" * n,
    )
    for encoding in ("base64", "quoted-printable", "x-uuencode"):
        for name, junk in _JUNK:
            yield _encoded(name, encoding, junk)
    yield _parts(
        "texts with bytes that are none of the charset",
        240,
        b"Content-Type: text/plain; charset=cp1254\nContent-Disposition: attachment\n\n" + b"\x81" * 31_000,
    )
    yield _parts("uuencoded", 225, b"Content-Transfer-Encoding: uue\n\nbegin 666 a\n" + b"M#\n" * 10_000)


def _forms() -> Iterator[Shape]:
    parsed = {"headers": b"Message-ID: <a@b>\n"}
    yield Shape(
        "form: other Content headers",
        10_000,
        lambda n: {"headers": b"".join(b"Content-%d:\n" % at for at in range(n))},
    )
    yield Shape(
        "form: envelope of many",
        2_000_000,
        lambda n: {"email": b"a: b", "envelope": b'{"to": [' + b'"a",' * (n // 4) + b'""]}'},
    )
    yield Shape(
        "form: charsets of many",
        2_000_000,
        lambda n: {
            "email": b"a: b",
            "charsets": b"{" + b",".join(b'"%d":"a"' % at for at in range(n // 12)) + b"}",
        },
    )
    for field in ("envelope", "attachment-info", "content-ids", "charsets"):
        yield _json("brackets", 2_000_000, field, lambda n: b'{"to":' + b"[" * n)
        yield _json("levels", 200_000, field, lambda n: b'{"to":' * n + b"1" + b"}" * n)
        yield _json("digits", 2_000_000, field, lambda n: b'{"to":' + b"1" * n + b"}")
        yield _json("no numbers", 2_000_000, field, lambda n: b'{"to":[' + b"NaN," * (n // 4) + b"1]}")
    yield Shape("form: fields", 500, lambda n: parsed | {f"f{at}": b"x" for at in range(n)})
    yield Shape("form: many files", 450, lambda n: parsed | {f"attachment;{at}": b"x" for at in range(n)})
    yield Shape(
        "form: encoded words as names of files",
        450,
        lambda n: parsed | {f"attachment{at};{'=?x?b?YQ?=' * 780}": b"x" for at in range(n)},
    )
    yield Shape("form: files of one name", 450, lambda n: parsed | {f"one;{at}": b"x" for at in range(n)})
    yield Shape(
        "form: a mail of lines attached",
        8_000_000,
        lambda n: parsed | {"attachment1;message/rfc822": b"a: b\n\n" + b"\n" * n},
    )
    yield Shape(
        "form: a mail of parts attached",
        225,
        lambda n: (
            parsed
            | {
                "attachment1;message/rfc822": b"Content-Type: multipart/mixed; boundary=b\n\n"
                + b"--b\n\nx\n" * n
            }
        ),
    )
    yield Shape("form: dkim", 2_000_000, lambda n: parsed | {"dkim": b"@a:" * (n // 3)})
    yield Shape(
        "form: spam_report", 2_000_000, lambda n: parsed | {"spam_report": b"(" * (n // 2) + b"( " * (n // 4)}
    )
    yield Shape("form: To", 2_000_000, lambda n: parsed | {"to": b"a:" * (n // 2)})
    yield Shape("form: text of quoted lines", 8_000_000, lambda n: parsed | {"text": b">\n" * (n // 2)})
    yield Shape("form: near boundaries", 2_000_000, lambda n: {"email": b"\r\n--xYzZ" * (n // 8)})
    yield Shape(
        "form: near boundaries that go on", 2_000_000, lambda n: {"email": b"\r\n--xYzZYa" * (n // 10)}
    )
    yield Shape("form: carriage returns", 8_000_000, lambda n: {"email": b"\r" * n})


def post(fields: dict[str, bytes]) -> bytes:
    """Encode a post. A ";" in a key marks a file; its type or a number follows."""
    parts = []
    for key, value in fields.items():
        name, is_file, kind = key.partition(";")
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if is_file:
            head += f'; filename="{kind}"\r\nContent-Type: {kind if "/" in kind else "a/b"}'
        parts.append(head.encode() + b"\r\n\r\n" + value + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def read_all(body: bytes) -> None:
    """Parse a mail as a worker does, and read every property that a receiver can read."""
    from events_app.decode import Unreadable  # noqa: PLC0415 (it needs the apps)
    from events_app.inbound.parse.form import read_form  # noqa: PLC0415
    from events_app.inbound.parse.post import read_post  # noqa: PLC0415

    try:
        message = read_post(read_form(BytesIO(body), _CONTENT_TYPE)).message
    except Unreadable:
        return
    for name in dir(type(message)):
        if isinstance(getattr(type(message), name), property):
            getattr(message, name)
    message.get_address_header("Reply-To")
    for part in message.walk():
        part.items()
    for part in (*message.attachments, *message.inlines):
        part.get_content_text()
        part.as_uploaded_file()


def cpu(body: bytes) -> float | None:
    """Return the CPU seconds to parse `body` in a forked process, or None if it was killed at the limit."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        spent = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (spent + LONGEST, spent + LONGEST + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        began = time.process_time()
        try:
            read_all(body)
        except Exception as error:  # noqa: BLE001 (printed; the shape is measured all the same)
            os.write(2, f"raised {type(error).__name__}\n".encode())
        os.write(write_end, f"{time.process_time() - began}".encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        seconds = pipe.read()
    os.waitpid(pid, 0)
    return float(seconds) if seconds else None


def main(names: list[str]) -> None:
    settings.configure(INSTALLED_APPS=["events_app"], USE_TZ=True)
    django.setup()
    read_all(post({"email": b"Subject: warm\nContent-Type: text/html\n\n<p>a"}))
    print(f"{'CPU seconds at':>60} {'n':>10} {'n':>8} {'2n':>8} {'4n':>8}", flush=True)
    missed = 0
    for shape in shapes():
        if names and not any(name in shape.name for name in names):
            continue
        times = []
        for size in (shape.n, 2 * shape.n, 4 * shape.n):
            body = post(shape.fields(size))
            times.append(cpu(body))
            if times[-1] is None:
                break
        plain = cpu(post({"email": b"a: b\n\n" + b"abcdefg\n" * (len(body) // 8)})) or 0
        last = times[-1]
        result = "killed" if last is None else "over" if last - plain > GOAL else "holds"
        if last and last > 0.5 and times[1] and last / times[1] > 3:
            result += ", quadratic"
        missed += not result.startswith("holds")
        cells = "".join(
            f" {f'>{LONGEST}' if t is None else f'{t:.2f}':>8}" for t in [*times, "", ""][:3] if t != ""
        )
        print(f"{shape.name:>60} {shape.n:>10,}{cells} {result} (plain {plain:.2f})", flush=True)
    print(f"{missed} shapes missed the goal of {GOAL} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
