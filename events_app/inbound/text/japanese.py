"""ISO-2022-JP and EUC-JP to text, with the characters of NEC and IBM, such as ① and 髙.

Mail programs write these characters under both names. Python's codecs lack them; the WHATWG's table has them:
https://encoding.spec.whatwg.org/#index-jis0208. Shift_JIS of Windows (cp932) has the same characters in the
same order.
"""

import re
from functools import cache
from itertools import islice

#: The most runs of characters of one kind in a text: 1,000 and one more for each ten bytes, and never more
#: than 100,000. Each run costs as much as fifty characters.
MOST_RUNS = 100_000
MOST_RUNS_OF_SHORT = 1000

# A run of two-byte characters, else bytes for Python's codec.
_RUNS = {
    "iso2022_jp": re.compile(rb"\x1b\$[@B]([\x21-\x7e]*+)|\x1b?[^\x1b]++|\x1b"),
    "euc_jp": re.compile(
        rb"((?:[\xa1-\xfe][\xa1-\xfe])++)|(?:[^\x8e\x8f\xa1-\xfe]|\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2})++|.",
        re.DOTALL,
    ),
}
# ISO-2022-JP with one-byte katakana and with JIS X 0212, which also are in mail under the plain name.
_CODECS = {"iso2022_jp": "iso2022_jp_ext", "euc_jp": "euc_jp"}

_SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))


def decode_japanese(data: bytes, charset: str) -> str | None:
    """The text, with U+FFFD at damaged places. None for another charset, or too many runs."""
    runs = _RUNS.get(charset)
    if runs is None:
        return None
    codec = _CODECS[charset]
    most_runs = min(MOST_RUNS, MOST_RUNS_OF_SHORT + len(data) // 10)
    pieces, end = [], 0
    for run in islice(runs.finditer(data), most_runs):
        if run[1] is None:
            pieces.append(run[0].decode(codec, "replace"))
        else:
            # As UTF-16 each pair is one character, and `translate` finds its text by its number.
            pairs = run[1].translate(_SEVEN_BITS)[: len(run[1]) & ~1].decode("utf-16-be")
            pieces += pairs.translate(_jis_x_0208()), "\ufffd" * (len(run[1]) % 2)
        end = run.end()
    return "".join(pieces) if end == len(data) else None


@cache
def _jis_x_0208() -> list[str]:
    """The character of each pair of bytes, at the pair's number; U+FFFD for pairs without a character."""
    characters = ["\ufffd"] * 0x8000
    for first in range(0x21, 0x7F):
        for second in range(0x21, 0x7F):
            row, odd = divmod(first - 0x21, 2)
            trail = second + 0x7E if odd else second + 0x1F + (second >= 0x60)
            pair = bytes([row + (0x81 if row < 31 else 0xC1), trail])
            characters[first << 8 | second] = pair.decode("cp932", "replace")[0]
    return characters
