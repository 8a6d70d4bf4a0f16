"""The labels of charsets in mail -> Python's names."""

import codecs
import pkgutil
import re
from encodings import __path__ as _codecs
from encodings import normalize_encoding
from encodings.aliases import aliases

import webencodings

_NAME = re.compile(r"\w[\w.:$-]{0,39}", re.ASCII)

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
    (r"(x-)?iso[-_]?2022[-_]?jp[-_]?ms|_iso-2022-jp\$(esc|sio)|cp5022[0-2]|jis", "iso-2022-jp"),
    (r"(x-)?euc[-_]?jp.*|cp51932", "euc-jp"),
    (r"(x-)?(sjis|shift[-_]?jis).*", "shift_jis"),
    (r"(x-)?gb[-_]?(2312|k|18030).*|cn-gb", "gb18030"),
    (r"(x-)?(ks_?c[-_]?5601|euc[-_]?kr).*", "euc-kr"),
    (r"(x-)?big[-_]?5.*", "big5"),
    (r"(x-)?koi[-_]?8[-_]?(?P<letter>[rtu])", r"koi8-\g<letter>"),
    (r"iso-ir-111|ecma-cyrillic|koi8-e", "koi8-r"),  # alike in the letters of Russian
    (r"x-mac-(ce|centraleurroman)", "mac_latin2"),
    (r"x-mac-(?P<script>\w+)", r"mac_\g<script>"),
    (r"(x-)?iso[-_]?8859[-_]?(?P<number>\d{1,2})(?!\d).*", r"iso-8859-\g<number>"),
    (r"(x-)?(windows|win|cp|ms|ansi|ibm|dos|oem)[-_]?(cp)?[-_]?(?P<number>\d{3,5})(?!\d).*", r"cp\g<number>"),
)
_SPELLED = [(re.compile(pattern, re.ASCII), name) for pattern, name in _SPELLINGS]


def codec_name(declared: str) -> str | None:
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
