"""Bytes to text, and the content of a mail's part to bytes. Malformed mail never raises."""

import codecs
import pkgutil
import quopri
import re
from base64 import b64decode
from contextlib import suppress
from email.message import EmailMessage, Message
from encodings import __path__ as _codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import cache
from itertools import islice
from typing import cast

import webencodings

from events_app.inbound.text import japanese
from events_app.shared.database import clean

_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,39}", re.ASCII)

#: The names of Python's own codecs. An arbitrary name from a mail must not reach `codecs.lookup`, which
#: caches every spelling of a known name, nor `encodings.search_function`, whose `_cache` keeps unknown names.
#: `webencodings.lookup` caches by the forty names of the charsets, not by label.
_MODULES = {module.name: module.name for module in pkgutil.iter_modules(_codecs)} | aliases

#: Codecs no mail uses as a charset: they warn, or their time grows with the square of the text.
_NOT_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}

#: Names in mail that neither the WHATWG's table nor Python has, with the usual name.
_SPELLINGS = (
    (r"(x-?)?(cs)?unicode-?\d-?\d-?utf-?7", "utf-7"),
    (r"(x-)?utf[-_]?8.*", "utf-8"),  # utf8mb4, utf-8-sig
    (r"(x-)?iso[-_]?2022[-_]?jp[-_]?ms|cp5022[0-2]|jis", "iso-2022-jp"),
    (r"(x-)?euc[-_]?jp.*|cp51932", "euc-jp"),
    (r"(x-)?(sjis|shift[-_]?jis).*", "shift_jis"),
    (r"(x-)?gb[-_]?(2312|k|18030).*|cn-gb", "gb18030"),
    (r"(x-)?(ks_?c[-_]?5601|euc[-_]?kr).*", "euc-kr"),
    (r"(x-)?big[-_]?5.*", "big5"),
    (r"(x-)?koi[-_]?8[-_]?(?P<letter>[rtu])", r"koi8-\g<letter>"),
    (r"x-mac-(ce|centraleurroman)", "mac_latin2"),
    (r"x-mac-(?P<script>\w+)", r"mac_\g<script>"),
    (r"(x-)?iso[-_]?8859[-_]?(?P<number>\d{1,2})(?!\d).*", r"iso-8859-\g<number>"),
    (r"(x-)?(windows|win|cp|ms|ansi|ibm|dos|oem)[-_]?(cp)?[-_]?(?P<number>\d{3,5})(?!\d).*", r"cp\g<number>"),
)
_SPELLED = [(re.compile(pattern, re.ASCII), name) for pattern, name in _SPELLINGS]

# Python's codec and the web's, https://encoding.spec.whatwg.org/#indexes, read some characters differently.
_JIS_ON_THE_WEB = {"〜": "～", "‖": "∥", "−": "－", "¢": "￠", "£": "￡", "¬": "￢"}
_ON_THE_WEB = {
    "iso2022_jp": _JIS_ON_THE_WEB,
    "euc_jp": _JIS_ON_THE_WEB,
    "big5hkscs": {
        "•": "‧",
        "､": "﹑",
        "‾": "¯",
        "∼": "～",
        "♁": "⊕",
        "☉": "⊙",
        "¥": "￥",
        "¢": "￠",
        "£": "￡",
    },
    "gb18030": {"\ue5e5": "\u3000"},
    "koi8-u": {"╝": "ў", "╬": "Ў"},
}

#: The other reading of text that a codec cannot decode: Big5 of Hong Kong lacks some characters of Windows.
_ALSO = {"big5hkscs": "cp950"}

# The longer first: UTF-32's byte order mark begins like UTF-16's.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_WINDOWS = {"cp874", *(f"cp125{number}" for number in range(9))}

#: The most damaged places of a text: 1,000 and one more for each fifty bytes, and never more than 100,000.
#: A damaged place costs more than a hundred sound characters, and a mail can have a thousand texts.
MOST_GAPS = 100_000
MOST_GAPS_OF_SHORT = 1000

#: Bytes decoded between two counts of the damaged places.
_PIECE = 1000

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


def decode(data: bytes, declared: str = "") -> str:
    """Decode to text for any database; never raises.

    The charset is that of a byte order mark, else the declared charset, else UTF-8, else windows-1252, the
    usual charset of mislabelled text. Text with a few damaged places keeps its charset, with U+FFFD at these
    places.
    """
    marked = next((charset for mark, charset in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    charset = known(declared)
    candidates = marked, charset, "utf-8", _ALSO.get(charset or "")
    charsets = [charset for charset in dict.fromkeys(candidates) if charset]
    # Text with escape sequences is ASCII, so as UTF-8 it is never damaged.
    is_escaped = charset is not None and charset.startswith(("iso2022", "hz")) and data.isascii()
    damaged = {}
    for charset in charsets[:1] if is_escaped else charsets:
        try:
            text = data.decode(charset)
        except ValueError:
            text_with_gaps = _with_more_characters(data, charset)
            if text_with_gaps is None:
                continue
            if "\ufffd" in text_with_gaps:
                damaged[charset] = text_with_gaps
                continue
            text = text_with_gaps
        return _on_the_web(text, charset)
    for charset in charsets:
        text = damaged.get(charset) or _with_gaps(data, charset)
        # A right charset with damage has few gaps among its characters beyond ASCII; a wrong one has many.
        beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
        if text.count("\ufffd") * 2 <= beyond_ascii:
            return _on_the_web(text, charset)
    return clean(codecs.charmap_decode(data, "strict", _windows_characters("cp1252"))[0])


def _on_the_web(text: str, charset: str) -> str:
    for character, on_the_web in _ON_THE_WEB.get(charset, {}).items():
        text = text.replace(character, on_the_web)
    return clean(text)


def known(declared: str) -> str | None:
    """Python's own name of the charset that a label means in mail; None for an unknown charset.

    The label's meaning is that of the web, https://encoding.spec.whatwg.org/#names-and-labels: "iso-8859-1"
    is "cp1252", "gb2312" is "gb18030". But "us-ascii" is "ascii": text beyond ASCII usually is UTF-8 then.
    The label of a charset that the web does not have is a name of Python's, or a spelling found in mail.
    """
    label = declared.strip(" \t\r\n\"',;").lower()
    if not _NAME.fullmatch(label):
        return None
    charset = _codec(label)
    if charset is None:
        spelled = ((match, name) for pattern, name in _SPELLED if (match := pattern.fullmatch(label)))
        charset = next((_codec(match.expand(name)) for match, name in spelled), None)
    return charset


def _codec(label: str) -> str | None:
    """The name of the codec for a label of the WHATWG's table or a name of a codec fit for mail."""
    name = normalize_encoding(label)
    module = _MODULES.get(name) or _MODULES.get(name.replace(".", "_"))
    if module == "ascii":
        return module
    encoding = webencodings.lookup(label)
    if encoding is None or encoding.name in ("replacement", "x-user-defined"):
        if module is None:
            return None
        try:
            codec = codecs.lookup(module)
            b"-".decode(module)
        except LookupError:
            return None  # a codec to bytes, such as "zip", or a codec of another operating system
        except ValueError:
            pass  # a charset of two bytes a character
        if codec.name in _NOT_CHARSETS:
            return None
        # Python has more labels of the table's charsets, such as "latin_1".
        encoding = webencodings.lookup(codec.name.replace("_", "-"))
        if encoding is None:
            return codec.name
    # The web decodes both alike. Python's "gbk" lacks the characters of four bytes.
    return "gb18030" if encoding.name == "gbk" else encoding.codec_info.name


def _with_more_characters(data: bytes, charset: str) -> str | None:
    """The text in a charset of which the web has more characters than Python; None for other charsets.

    Damaged places are U+FFFD.
    """
    if charset in _WINDOWS:
        return codecs.charmap_decode(data, "strict", _windows_characters(charset))[0]
    return japanese.decode(data, charset)


@cache
def _windows_characters(charset: str) -> str:
    """The character of each byte: the control character for an undefined byte below 160, else U+FFFD."""
    characters = bytes(range(256)).decode(charset, "replace")
    return "".join(
        chr(byte) if character == "\ufffd" and byte < 160 else character
        for byte, character in enumerate(characters)
    )


def _with_gaps(data: bytes, charset: str) -> str:
    """The text with U+FFFD at damaged places. With too many damaged places, a single U+FFFD."""
    if charset == "utf-7":
        # For each piece the decoder reads again from the last "+". The time could grow with the square
        # of the text.
        return data.decode(charset, "replace") if len(data) <= _PIECE else "\ufffd"
    decoder = codecs.getincrementaldecoder(charset)("replace")
    pieces, gaps = [], 0
    most_gaps = min(MOST_GAPS, MOST_GAPS_OF_SHORT + len(data) // 50)
    with suppress(ValueError):  # some codecs raise in spite of "replace"
        for start in range(0, len(data), _PIECE):
            end = start + _PIECE
            pieces.append(decoder.decode(data[start:end], end >= len(data)))
            gaps += pieces[-1].count("\ufffd")
            if gaps > most_gaps:
                break
        else:
            return "".join(pieces)
    return "\ufffd"


def payload(part: EmailMessage) -> str | None:
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
    declared, _, _ = str(part.get("Content-Transfer-Encoding", ""))[:100].lower().partition(";")
    return _ENCODINGS.get(re.sub(r"\([^()]*\)|[^a-z0-9]", "", declared), "")


def content(part: EmailMessage) -> bytes:
    """The decoded bytes of a part without inner parts; undecodable content unchanged. Never raises."""
    encoding = transfer_encoding(part)
    encoded = (payload(part) or "").encode("utf-8", "surrogateescape")
    if encoding == "base64":
        return _from_base64(encoded)
    if encoding == "quoted-printable":
        # `binascii` takes no space before a line end (RFC 2045, 6.7, rule 3), and no lone CR as a line end.
        return quopri.decodestring(re.sub(rb"=(?:[ \t]++\r?\n|[ \t]*+\r(?!\n))", b"=\n", encoded))
    if encoding == "uuencode" and len(encoded) <= MOST_UUENCODED:
        # The standard library reads few spellings of the encoding.
        message = Message()
        message["Content-Transfer-Encoding"] = encoding
        message.set_payload(payload(part) or "")
        with suppress(ValueError, LookupError):
            return cast(bytes, message.get_payload(decode=True))
    return encoded


def _from_base64(encoded: bytes) -> bytes:
    """The bytes up to the first padding, and those of whole blocks behind it: some programs pad each line.

    Foreign characters are left out before the padding, as is the last character of a broken-off group. After
    the padding they end the content: it may be a mailing list's footer.
    """
    digits, _, rest = encoded.partition(b"=")
    digits = digits.translate(None, _NOT_BASE64)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    blocks = [b64decode(digits + b"=" * (-len(digits) % 4))]
    rest = rest.translate(None, b"\r\n").lstrip(b"= \t")
    end = 0
    for block in islice(_BLOCK.finditer(rest), MOST_BLOCKS_OF_SHORT + len(rest) // 40):
        if block.start() != end or (len(block[1]) + len(block[2])) % 4:
            break
        blocks.append(b64decode(block[1] + block[2]))
        end = block.end()
    return b"".join(blocks)
