"""Parameters are read in every encoding, from well-formed and malformed headers."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from events_app.inbound.text.headers import MOST_SEPARATORS
from events_app.inbound.text.parameters import file_name, read_parameters
from tests.support.inbound.sources import parse_source
from tests.support.strategies import any_text, header_values


def message(header: str, value: str) -> InboundMessage:
    return parse_source(f"{header}: {value}\n\nbody".encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a b [1].txt; x=y", "a b [1].txt"),
        ("attachment; filename=ü b.txt", "ü b.txt"),
        ('attachment; x="y"; filename=it\'s a b.txt', "it's a b.txt"),
        ('attachment; filename="x; name=y; filename=z.txt"', "x; name=y; filename=z.txt"),
        ("attachment; name=x; filename=y", "y"),
        ('attachment; filename="a;b=c.txt"', "a;b=c.txt"),
        ('attachment; filename="a \\"b\\".txt"', 'a "b".txt'),
        ('attachment; filename="one\r\n\ttwo.txt"', "one\ttwo.txt"),
        ("attachment; filename*=utf-8''%C3%BC%0D%0Ab.txt", "ü b.txt"),
        ("attachment; filename*=windows-1252''%FC.txt", "ü.txt"),
        ("attachment; filename*0*=utf-8''%C3; filename*1*=%BC.txt", "ü.txt"),
        ('attachment; filename="=?utf-8?q?=C3=BC?=.txt"', "ü.txt"),
        ("attachment; filename==?utf-8?q?=C3=BC.txt?=", "ü.txt"),
        ("attachment; filename==?utf-8?q?=C3=BC.txt", "ü.txt"),
        ('attachment; filename="=?iso-8859-1?q?\udcfc.txt?="', "ü.txt"),
        ('attachment; filename="\udcfc.txt"', "ü.txt"),
        # Wrong forms of RFC 2231.
        ("attachment; filename*=%C3%BC.txt", "ü.txt"),
        ("attachment; filename*='%C3%BC.txt", "ü.txt"),
        ("attachment; filename*=''%C3%BC.txt", "ü.txt"),
        ("attachment; filename*=utf-8'%C3%BC.txt", "ü.txt"),
        ("attachment; filename*=klingon''%C3%BC.txt", "ü.txt"),
        ("attachment; filename*=\"utf-8''%C3%BC.txt\"", "ü.txt"),
        ("attachment; filename*=utf-8''ü b.txt", "ü b.txt"),
        ("attachment; filename*=rock'n'roll.txt", "rock'n'roll.txt"),
        ("attachment; filename=utf-8''%C3%BC.txt", "ü.txt"),
        ("attachment; filename*0=a; filename*1=b.txt", "ab.txt"),
        ("attachment; filename*1=a; filename*2=b.txt", "ab.txt"),
        ("attachment; filename*0=a; filename*2=b.txt", "ab.txt"),
        ("attachment; filename*02=b.txt; filename*01=a", "ab.txt"),
        ("attachment; filename*0=a; filename*0=x; filename*1=b.txt", "ab.txt"),
        ("attachment; filename*0=a; filename*1*=%C3%BC.txt", "aü.txt"),
        ("attachment; filename*0*=utf-8''%C3; filename*1*=%BC; filename*2=%41.txt", "ü%41.txt"),
        # The encoded name comes before the plain name.
        ("attachment; filename=x; filename*=utf-8''%C3%BC.txt", "ü.txt"),
        ('attachment; filename="C:\\dir\\new.txt"', "C:\\dir\\new.txt"),
        ("attachment; filename=report (1).pdf", "report (1).pdf"),
        ('attachment; filename="../../etc/passwd"', "../../etc/passwd"),
        # No semicolon before the parameters, no disposition, another header's parameter.
        ("attachment filename=a b.txt", "a b.txt"),
        ('attachment, filename="a.txt"', "a.txt"),
        ('attachment (a file) filename="a.txt"', "a.txt"),
        ('filename="a.txt"', "a.txt"),
        ("filename=a.txt; x=y", "a.txt"),
        ("attachment; filename: a.txt", "a.txt"),
        ("attachment; name=a.txt", "a.txt"),
        # Of several names, the first that is not empty.
        ("attachment; filename=a.txt; filename*=utf-8''", "a.txt"),
        ("attachment; filename=a.txt; filename*0=", "a.txt"),
        ('attachment; filename=""; name=a.txt', "a.txt"),
        ('attachment; filename=" "', None),
        ('attachment; filename=""', None),
        ("attachment", None),
        ("", None),
    ],
)
def test_a_file_name_is_read_in_every_encoding(value: str, expected: str | None) -> None:
    assert file_name(message("Content-Disposition", value)) == expected


def test_the_name_in_content_type_is_the_fallback_file_name() -> None:
    assert file_name(message("Content-Type", 'text/plain; name="a.txt"')) == "a.txt"
    assert file_name(message("Content-Type", "text/plain; filename=a.txt")) == "a.txt"
    assert file_name(message("Content-Type", "text/plain name=a.txt")) == "a.txt"


@pytest.mark.parametrize(
    ("disposition", "content_type", "expected"),
    [
        ('inline; filename="b"', 'text/plain; name="a"', "b"),
        ('inline; filename=""', 'text/plain; name="a"', "a"),
        ("inline; filename*=utf-8''", 'text/plain; name="a"', "a"),
        ("inline; name=b", 'text/plain; name="a"', "a"),
        ("inline; name=b", 'text/plain; filename="a"', "b"),
    ],
)
def test_the_first_name_that_is_not_empty_names_the_file(
    disposition: str, content_type: str, expected: str
) -> None:
    source = f"Content-Disposition: {disposition}\nContent-Type: {content_type}\n\n"
    assert file_name(parse_source(source.encode())) == expected


def test_a_file_name_in_an_overlong_header_is_read() -> None:
    value = f'attachment; {"x=y; " * MOST_SEPARATORS}filename="a.txt"'
    assert file_name(message("Content-Disposition", value)) == "a.txt"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/plain; charset=utf-8 (text)", {"charset": "utf-8"}),
        ("text/plain; charset=utf-8(text)", {"charset": "utf-8"}),
        ('text/plain; charset="utf-8', {"charset": "utf-8"}),
        ("text/plain; charset = utf-8 ; Format=flowed", {"charset": "utf-8", "format": "flowed"}),
        ("text/plain; ; =x; charset=a; charset=b", {"charset": "a"}),
        ("multipart/mixed; boundary=----=_Part_1", {"boundary": "----=_Part_1"}),
        ("multipart/mixed; boundary=a/b:c?d", {"boundary": "a/b:c?d"}),
        ('multipart/mixed; boundary="=?utf-8?q?a?="', {"boundary": "=?utf-8?q?a?="}),
        ("text/plain; x=\udcc3\udcbc", {"x": "ü"}),
        ("text/plain; x=", {"x": ""}),
        ("text/plain", {}),
        ("text/plain charset=utf-8", {"charset": "utf-8"}),
        ("text/plain, charset=utf-8", {"charset": "utf-8"}),
        ("text/plain charset: utf-8; x=y", {"charset": "utf-8", "x": "y"}),
        ("text/plain; charset: utf-8", {"charset": "utf-8"}),
        ('"text/plain" charset=utf-8', {"charset": "utf-8"}),
        ('text/plain; name="a" charset=utf-8', {"name": "a", "charset": "utf-8"}),
        ('text/plain; name="a", charset=utf-8', {"name": "a", "charset": "utf-8"}),
        ('text/plain; name="a b=c"; d=e', {"name": "a b=c", "d": "e"}),
        ("text/plain; x=a:b", {"x": "a:b"}),
        ("text/plain a/b=c", {}),
        ("text/plain=utf-8", {}),
    ],
)
def test_parameters_are_read_from_the_source(value: str, expected: dict[str, str]) -> None:
    assert read_parameters(value) == expected


@given(
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1).map(str.strip).filter(bool),
    st.integers(1, 40),
)
@example("=??Q?", 1)
def test_a_file_name_is_read_as_it_was_written(name: str, size: int) -> None:
    data = name.encode()
    pieces = ["".join(f"%{byte:02X}" for byte in data[at : at + size]) for at in range(0, len(data), size)]
    pieces[0] = "utf-8''" + pieces[0]
    split = "".join(f";\n filename*{number}*={piece}" for number, piece in enumerate(pieces))
    assert file_name(message("Content-Disposition", f"attachment{split}")) == name
    words = f"=?utf-8?b?{base64.b64encode(data).decode()}?="
    assert file_name(message("Content-Type", f'text/plain; name="{words}"')) == name
    if "=?" not in name and "''" not in name:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        assert file_name(message("Content-Type", f'text/plain; name="{quoted}"')) == name


@given(any_text | header_values.map("; a".__add__))
def test_parameters_of_any_text_never_raise(source: str) -> None:
    for value in read_parameters(source).values():
        value.encode()
