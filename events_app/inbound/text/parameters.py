"""The parameters of a header such as Content-Type, well-formed or not.

The standard library's structured parser cuts unquoted values at the first special character, and loses
parameters after a malformed parameter.
"""

import re
from collections.abc import Mapping
from email.message import EmailMessage
from urllib.parse import unquote_to_bytes

from events_app.inbound.text import headers
from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.decoding import decode_text
from events_app.inbound.text.encoded_words import decode_source, decode_words

_PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;]*+))', re.DOTALL)

# The name of a parameter in an encoding of RFC 2231: "filename*", or a piece such as "filename*0*".
_ENCODED_NAME = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?")

# A backslash before another character belongs to a path of Windows.
_ESCAPED = re.compile(r'\\(["\\])')

# Mail programs leave spaces and brackets in unquoted names of files. Other unquoted values are tokens.
_OF_FILES = ("filename", "name")
_END_OF_TOKEN = re.compile(r"[\s(]")


def file_name(part: EmailMessage) -> str | None:
    """The sender's name for a part's file, with its path, on a single line; None without a name."""
    for header, parameter in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        name = read_parameters(next(headers.sources(part, header), "")).get(parameter)
        if name is not None:
            # The encoding of RFC 2231 occurs without the "*" after the parameter's name.
            charset, quote, _ = name.partition("''")
            return decode_words(_percent_decoded([(True, name)]) if quote and codec_name(charset) else name)
    return None


def read_parameters(header: str) -> Mapping[str, str]:
    """The parameters in a header's source by lower-case name, in any encoding of RFC 2231.

    An encoded parameter replaces a plain parameter of the same name; of other duplicates the first counts.
    """
    plain: dict[str, str] = {}
    encoded: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bool, str]]] = {}
    for written, quoted, bare in _PARAMETER.findall(header):
        name = _ENCODED_NAME.fullmatch(written.lower())
        text = _ESCAPED.sub(r"\1", quoted) or bare.strip()
        of_file = name is not None and name[1] in _OF_FILES
        if bare and not of_file:
            text = _END_OF_TOKEN.split(text, maxsplit=1)[0].strip('"')
        if name is None or not (name[2] or name[3]):
            plain.setdefault(written.lower(), decode_words(text) if of_file else decode_source(text))
        elif name[2]:
            pieces.setdefault(name[1], {}).setdefault(int(name[2]), (bool(name[3]), text))
        else:
            encoded.setdefault(name[1], _percent_decoded([(True, text)]))
    joined = {
        name: _percent_decoded([of_name[number] for number in sorted(of_name)])
        for name, of_name in pieces.items()
    }
    return plain | joined | encoded


def _percent_decoded(pieces: list[tuple[bool, str]]) -> str:
    """The text of a parameter's pieces, each with whether it is percent-encoded.

    The first piece begins with charset and language, as in "utf-8'en'": one or both may be missing.
    """
    is_encoded, first = pieces[0]
    charset, quote, _ = first.partition("'")
    content = first.split("'", 2)[-1]
    if is_encoded and quote and (not charset or codec_name(charset) or "%" in content):
        pieces = [(True, content), *pieces[1:]]
    else:
        charset = ""
    sources = ((is_encoded, text.encode("utf-8", "surrogateescape")) for is_encoded, text in pieces)
    return decode_text(
        b"".join(unquote_to_bytes(text) if is_encoded else text for is_encoded, text in sources), charset
    )
