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

# A colon in place of "=", and no semicolon behind a closing quote, occur.
_PARAMETER = re.compile(
    r'(?:;|(?<=")[\s,]*+)\s*+([^\s=;":,]++)\s*+[=:]\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;]*+))', re.DOTALL
)

# A header's main value, if any, and what stands in place of the semicolon before the first parameter.
_NO_SEMICOLON = re.compile(
    r"""\s*+(?:(?:"[^"]*+"|[^\s;,=:"(]++)(?:[\s,]|\([^()]*+\))++)?(?=[^\s;,=:"(/]++\s*+[=:])"""
)

# The name of a parameter in an encoding of RFC 2231: "filename*", or a piece such as "filename*0*".
_ENCODED_NAME = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?")

# A backslash before another character belongs to a path of Windows.
_ESCAPED = re.compile(r'\\(["\\])')

# Mail programs leave spaces and brackets in unquoted names of files. Other unquoted values are tokens.
_OF_FILES = ("filename", "name")
_END_OF_TOKEN = re.compile(r"[\s(]")


def file_name(part: EmailMessage) -> str | None:
    """The sender's name for a part's file, with its path, on a single line; None without a name.

    The parameter is `filename` of Content-Disposition or `name` of Content-Type, else the other header's.
    """
    parameters: dict[str, Mapping[str, str]] = {}
    for header, parameter in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        source = next(headers.sources(part, header), "")
        if "name" in source.lower():
            parameters[parameter] = read_parameters(source)
            name = _decoded_name(parameters[parameter].get(parameter, ""))
            if name:
                return name
    for parameter, other in (("filename", "name"), ("name", "filename")):
        name = _decoded_name(parameters.get(parameter, {}).get(other, ""))
        if name:
            return name
    return None


def _decoded_name(name: str) -> str:
    # The encoding of RFC 2231 occurs without the "*" after the parameter's name.
    charset, quote, _ = name.partition("''")
    text = _percent_decoded([(True, name)]) if quote and codec_name(charset) else name
    return decode_words(text) or text.strip()  # "=??Q?" is an encoded word without content


def read_parameters(header: str) -> Mapping[str, str]:
    """The parameters in a header's source by lower-case name, in any encoding of RFC 2231.

    An encoded parameter replaces a plain parameter of the same name, but an empty one replaces nothing; of
    other duplicates the first counts.
    """
    before, _, _ = header.partition(";")
    if ("=" in before or ":" in before) and (beginning := _NO_SEMICOLON.match(header)):
        header = f";{header[beginning.end() :]}"
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
    return plain | {name: text for name, text in (joined | encoded).items() if text or name not in plain}


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
