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
    "quotedprintable": "quoted-printable",
    **dict.fromkeys(("xuuencode", "uuencode", "uue", "xuue"), "uuencode"),
}

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
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
        return _from_base64(encoded)
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


def _from_base64(encoded: bytes) -> bytes:
    """The bytes up to the first padding, and those of whole blocks behind it: some programs pad each line.

    Foreign characters are left out before the padding. After the padding they end the content: it may be a
    mailing list's footer.
    """
    digits, _, below = encoded.partition(b"=")
    digits = digits.translate(None, _NOT_BASE64)  # a second copy of 30 MB is left behind here
    blocks = [from_base64_digits(digits)]
    below = below.translate(None, b"\r\n").lstrip(b"= \t")
    end = 0
    for block in islice(_BLOCK.finditer(below), MOST_BLOCKS_OF_SHORT + len(below) // 40):
        if block.start() != end or (len(block[1]) + len(block[2])) % 4:
            break
        blocks.append(from_base64_digits(block[1]))
        end = block.end()
    return b"".join(blocks)


def from_base64_digits(digits: bytes) -> bytes:
    """The bytes of base64 without its padding; the last character of a broken-off group is left out."""
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return b64decode(digits + b"=" * (-len(digits) % 4))
