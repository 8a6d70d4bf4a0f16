"""Runs of base64 in bytes, decoded for a search and changed in place.

A change keeps the length, so the rest of a run stays byte for byte as it was.
"""

import base64
import re
from collections.abc import Callable, Iterator

_LETTERS = rb"A-Za-z0-9+/_-"
# Letters that a URL or a JSON string escapes.
_ESCAPED = rb"%2[bBfF]|\\+/"
# Between two lines, also in a JSON string, a folded header or a percent-encoded form.
_BREAK = rb"(?:\r?\n[ \t]?|=\r?\n|\\+r|\\+n|%0[dDaA])+"

_break = re.compile(_BREAK)
_escaped = re.compile(_ESCAPED)
_token = re.compile(rb"(?:%s|[%s])" % (_ESCAPED, _LETTERS))
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")

#: Letters of the shortest line of wrapped base64: programs write 60, 64 or 76.
_LINE = 60

#: Letters of a run that can only be a file, which begins at the run's beginning.
_FILE = 8192

#: Changes decoded bytes to as many other bytes. None: no change.
Change = Callable[[bytes], bytes | None]


class Runs:
    """Searches for runs of at least as many letters."""

    def __init__(self, shortest: int) -> None:
        self.shortest = shortest
        letters = rb"[%s]" % _LETTERS
        plain = rb"(?<!%s)%s{%d,}" % (letters, letters, shortest)
        self._plain = re.compile(rb"%s(?:%s%s+)*" % (plain, _BREAK, letters))
        # Slower: any letter may be escaped.
        any_letter = rb"(?:%s|%s)" % (letters, _ESCAPED)
        self._escaped = re.compile(
            rb"(?<!%s)%s{%d,}(?:%s%s+)*" % (letters, any_letter, shortest, _BREAK, any_letter)
        )

    def decoded(self, content: bytes, may_be_escaped: bool) -> Iterator[bytes]:
        """The bytes of every run, from each possible beginning."""
        for run in self._pattern(content, may_be_escaped).finditer(content):
            letters = _letters(run[0])
            for offset in _offsets(run[0]):
                yield _decode(letters[offset:])

    def change(self, content: bytes, change: Change, may_be_escaped: bool) -> bytes:
        """The content with every run changed, decoded from each possible beginning."""
        pattern = self._pattern(content, may_be_escaped)
        return pattern.sub(lambda run: _changed(run[0], change), content)

    def _pattern(self, content: bytes, may_be_escaped: bool) -> re.Pattern[bytes]:
        return self._escaped if may_be_escaped and _escaped.search(content) else self._plain


def _offsets(run: bytes) -> range:
    """How many letters may stand before the beginning of the base64: none before whole lines or files."""
    line = _break.split(run, 1)[0]
    is_whole = _LINE <= len(line) < len(run) and len(line) % 4 == 0
    return range(1 if is_whole or len(run) >= _FILE else 4)


def _letters(run: bytes) -> bytes:
    """The letters of a run in the standard alphabet, without breaks."""
    if b"%" in run or b"\\" in run or b"=" in run:
        run = b"".join(_letter(token) for token in _token.findall(_break.sub(b"", run)))
    return run.translate(_TO_STANDARD, b" \t\r\n")


def _letter(token: bytes) -> bytes:
    if token[:1] == b"%":
        return b"+" if token[2:] in b"bB" else b"/"
    return token[-1:]


def _decode(letters: bytes) -> bytes:
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


def _changed(run: bytes, change: Change) -> bytes:
    letters = _letters(run)
    changed = bytearray(letters)
    for offset in _offsets(run):
        before = _decode(bytes(changed[offset:]))
        after = change(before)
        if after is None or after == before:
            continue
        encoded = base64.b64encode(after)
        differing = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
        first, last = differing[0] // 3 * 4, min(differing[-1] // 3 * 4 + 4, len(letters) - offset)
        changed[offset + first : offset + last] = encoded[first:last].rstrip(b"=").ljust(last - first, b"A")
    if changed == letters:
        return run
    new = iter(bytes(changed).translate(_TO_URL_SAFE) if b"-" in run or b"_" in run else bytes(changed))
    return _token_or_break.sub(lambda part: _written(part[0], next(new)) if part.lastgroup else part[0], run)


# A break may be written with letters.
_token_or_break = re.compile(rb"%s|(?P<token>%s)" % (_BREAK, _token.pattern))


def _written(token: bytes, letter: int) -> bytes:
    """The letter, escaped as the token was."""
    written = bytes([letter])
    if len(token) == 1:
        return written
    escaped = {b"+": b"%2B", b"/": b"%2F"} if token[:1] == b"%" else {b"/": token}
    return escaped.get(written, written)
