"""The content of a mail's part, decoded from its transfer encoding. Malformed content never raises."""

import quopri
import re
from base64 import b64decode
from contextlib import suppress
from email.message import EmailMessage, Message
from itertools import islice
from typing import cast

#: The most characters of uuencoded content to decode: the standard library uses seventy bytes for each.
MOST_UUENCODED = 1_000_000

#: The most blocks of base64 content, each with a padding: 1,000 and one more for each forty bytes.
MOST_BLOCKS_OF_SHORT = 1000

# The transfer encodings by their names without punctuation.
_ENCODINGS = {
    "base64": "base64",
    **dict.fromkeys(("quotedprintable", "quotedprinteable"), "quoted-printable"),
    **dict.fromkeys(("xuuencode", "uuencode", "uue", "xuue"), "uuencode"),
}

# Also the digits of URLs (RFC 4648, 5).
_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_OF_BASE64 = _DIGITS + b"=\r\n"
_NOT_DIGITS = bytes(set(range(256)) - set(_DIGITS))
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")

# Lines of base64. Servers that break long lines leave "!" and space. A line of "-" or "_" begins a footer.
_FOREIGN = rb"[\x00-\x09\x0b-\x20!\x7f-\xff]*+"
_LINE = (
    rb"(?!%(f)b[-_]++%(f)b(?:\n|\Z))%(f)b(?:[\w+/-]++=*+%(f)b(?=\n|\Z)|(?:[\w+/=-]{4}%(f)b)*+[\w+/-]{0,3}+%(f)b)"
) % {b"f": _FOREIGN}
_LINES = re.compile(rb"(?:%b\n)*+(?:%b\Z)?+" % (_LINE, _LINE))
_LONG_LINE = re.compile(rb"(?<=\n)[A-Za-z0-9+/]{60,}+=*+\r?(?:\n|\Z)")

# The last bytes of a content have a footer's punctuation, and so has a plain text.
_END = 100

# Words of a plain text could be a few digits of base64.
_FEWEST_DIGITS = 16

_BLOCK = re.compile(rb"([A-Za-z0-9+/]++)(={0,2})=*+")


def encoded_content(part: EmailMessage) -> str | None:
    """A part's content as in the source; None for a part with inner parts.

    `EmailMessage.get_payload` always decodes by the declared charset: 30 MB falsely labelled UTF-7 took five
    seconds.
    """
    source = part._payload  # type: ignore[attr-defined]
    return source if isinstance(source, str) else None


def transfer_encoding(part: EmailMessage) -> str:
    """The encoding of a part's content: base64, quoted-printable or uuencode; "" for content as it is.

    Mail has other spellings: `"Base64"; x=y (by a gateway)`, `quoted_printable`.
    """
    sources = (source for name, source in part.raw_items() if name.lower() == "content-transfer-encoding")
    declared, _, _ = next(sources, "")[:100].lower().partition(";")
    return _ENCODINGS.get(re.sub(r"\([^()]*\)|[^a-z0-9]", "", declared), "")


def decoded_content(part: EmailMessage) -> bytes:
    """The decoded bytes of a part without inner parts; undecodable content unchanged. Never raises."""
    encoding = transfer_encoding(part)
    encoded = (encoded_content(part) or "").encode("utf-8", "surrogateescape")
    if encoding == "base64":
        end = _end_of_base64(encoded)
        return encoded if end is None else from_base64(encoded[:end])
    if encoding == "quoted-printable":
        # `binascii` takes no space before a line end (RFC 2045, 6.7, rule 3), and no lone CR as a line end.
        return quopri.decodestring(re.sub(rb"=(?:[ \t]++\r?\n|[ \t]*+\r(?!\n))", b"=\n", encoded))
    if encoding == "uuencode" and len(encoded) <= MOST_UUENCODED:
        # The standard library reads few spellings of the encoding.
        message = Message()
        message["Content-Transfer-Encoding"] = encoding
        message.set_payload(encoded_content(part) or "")
        with suppress(ValueError, LookupError):
            return cast(bytes, message.get_payload(decode=True))
    return encoded


def _end_of_base64(encoded: bytes) -> int | None:
    """The end of the lines of base64, above a mailing list's footer; None for plain text.

    A longer line of base64 below a broken line shows that the content goes on.
    """
    tail = encoded[-_END:]
    if not tail.translate(None, _OF_BASE64) and b"--" not in tail and b"__" not in tail:
        return len(encoded)
    lines = _LINES.match(encoded)
    end = lines.end() if lines else 0
    if end == len(encoded) or _LONG_LINE.search(encoded, end):
        return len(encoded)
    above = encoded[:end]
    digits = len(above) - len(above.translate(None, _DIGITS + b"="))
    is_base64 = digits % 4 == 0 and (b"=" in above or digits >= _FEWEST_DIGITS)
    return end if is_base64 else None


def from_base64(encoded: bytes) -> bytes:
    """The bytes up to the first padding, and those of whole blocks behind it: some programs pad each line.

    Foreign characters are left out before the padding. After the padding they end the content: it may be a
    mailing list's footer. The last character of a broken-off group is left out.
    """
    digits, _, below = encoded.partition(b"=")
    digits = digits.translate(_FROM_URL_SAFE, _NOT_DIGITS)  # a second copy of 30 MB is left behind here
    blocks = [_from_digits(digits)]
    below = below.translate(None, b"\r\n").lstrip(b"= \t")
    end = 0
    for block in islice(_BLOCK.finditer(below), MOST_BLOCKS_OF_SHORT + len(below) // 40):
        if block.start() != end or (len(block[1]) + len(block[2])) % 4:
            break
        blocks.append(_from_digits(block[1]))
        end = block.end()
    return b"".join(blocks)


def _from_digits(digits: bytes) -> bytes:
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return b64decode(digits + b"=" * (-len(digits) % 4))
