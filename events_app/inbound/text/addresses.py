"""The addresses in a header, well-formed or not.

The rule for malformed headers: the text in angle brackets is the address, other text the display name. The
standard library's structured parser reads "boss@a.example <eve@b.example>" as boss@a.example, a sender for
whom neither SPF nor DKIM speaks, and finds nothing in "[JIRA] Ann <ann@a.example>".
`email.utils.getaddresses` recurses at each colon, in a time growing with the square of the text.
"""

import re
from collections.abc import Iterable, Iterator
from email.headerregistry import Address
from itertools import chain, islice

from events_app.inbound.text.encoded_words import ENCODED_WORD, decode_words, one_line

#: The most mailboxes to read from a header, and addresses from the headers of a name.
MOST_ADDRESSES = 10_000

#: The most commas in an unquoted display name, such as "Smith, Ann, Jr., MD, PhD".
MOST_COMMAS_IN_NAME = 8

# Comments nest, here up to three levels: each level adds a search of the rest.
_COMMENT = r"\((?:[^()\\]++|\\.)*+\)"
for _ in range(2):
    _COMMENT = rf"\((?:[^()\\]++|\\.|{_COMMENT})*+\)"

# SMTP allows local parts of 64 characters (RFC 5321, 4.5.3.1.1).
_QUOTED = r'"(?:[^"\\]|\\.){0,64}+"'
_LOCAL = rf'(?:{_QUOTED}|[^\s"@<>()\[\],;:\\])++'
_DOMAIN = r'(?:\[[^\[\]\\\s<>]++\]|[^\s"@<>()\[\],;:\\]++)'

# Unclosed quotes, brackets and comments are text. A comma in "<>" ends an address except in a route.
_TOKEN = re.compile(
    rf"""
      (?P<encoded> {ENCODED_WORD} )
    | (?P<quoted> "(?:[^"\\]++|\\.)*+" )
    | (?P<comment> {_COMMENT} )
    | (?P<bracketed> <\s*+(?:@[^<>:";]*+:\s*+)?+ (?:{_QUOTED})?+ [^<>",;]*+ > | <[^<>,;]*+ )
    | (?P<mark> [,;:] )
    | (?P<text> (?: [^"(<,;:=@\\]++ | =(?!\?) | @\[[^\[\]\s<>()",;]*+\] | @ | \\["\\(),;:]?+ )++ | . )
    """,
    re.DOTALL | re.VERBOSE,
)
_IN_BRACKETS = re.compile(
    rf"\s*+(?:(?:mailto|@[^:\"]*+):)?+\s*+({_LOCAL})\s*+@\s*+({_DOMAIN})\s*+", re.DOTALL | re.IGNORECASE
)
_BARE = re.compile(rf"(?<![^\s:<>])({_LOCAL})@({_DOMAIN})(?![^\s:<>])", re.DOTALL)
_BARE_WITH_SPACES = re.compile(rf"\s*+({_LOCAL})\s*+@\s*+(?=\[|[^\s@]*\.)({_DOMAIN})\s*+", re.DOTALL)
_WITHOUT_DOMAIN = re.compile(r'\s*+((?!=\?)[^\s"@<>()\[\],;:\\]++)\s*+')

# An encoded word without an end is part of a name.
_BEGUN_WORD = re.compile(r"=\?[^?\s]*+\?[bBqQ]\?")

_NESTED_COMMENT = re.compile(_COMMENT, re.DOTALL)
_SPACED = re.compile(r"(?<!\s)\s*+([.@])\s*+")
_SPACES = re.compile(r"\s++")
_QUOTED_PART = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_SPECIAL = re.compile(r'\\(["\\(),;:])')

# A header that is a single quoted string, or ends with its only address in square brackets.
_ALL_QUOTED = re.compile(r'\s*+"((?:[^"\\]++|\\.)*+)"\s*+', re.DOTALL)
_IN_SQUARE = re.compile(r'([^<>\[\]@"]*+)\[\s*+([^\s\[\]<>@"]++@[^\s\[\]<>@"]++)\s*+\]\s*+')

# A mailbox in pieces, each the kind of a token and its source.
_Pieces = list[tuple[str, str]]

# A display name in pieces, the local part and the domain.
_Mailbox = tuple[_Pieces, str, str]


def read_addresses(sources: Iterable[str]) -> Iterator[Address]:
    """The addresses in the sources of headers, without group names; a mailbox without an address is left out.

    An unquoted comma or semicolon belongs to a display name if no address precedes: one address is in
    "Acme, Inc. <ann@a.example>", two are in "ann@a.example, Bob <bob@b.example>". A single word without "@",
    such as "root", is an address without a domain. A comment is the display name of an address without other
    text. The addresses in encoded words, as in a wholly encoded header, are text (RFC 2047, 5): other readers
    find no address there, so a check of the sender may have seen another header.
    """
    for source in sources:
        quoted = _ALL_QUOTED.fullmatch(source)
        text = _ESCAPED.sub(r"\1", quoted[1]) if quoted and "@" in quoted[1] else source
        in_square = _IN_SQUARE.fullmatch(text)
        if in_square:
            text = f"{in_square[1]}<{in_square[2]}>"
        for name, local, domain in _mailboxes(text):
            username = _QUOTED_PART.sub(lambda quoted: _ESCAPED.sub(r"\1", quoted[1]), local)
            single_quote = "'" if local[0] == domain[-1:] == "'" else ""  # Outlook's 'ann@a.example'
            # Address raises ValueError for a line break.
            yield Address(
                _name(name),
                one_line(username.removeprefix(single_quote)),
                one_line(domain.removesuffix(single_quote)),
            )


def _mailboxes(source: str) -> Iterator[_Mailbox]:
    waiting: list[_Pieces] = []  # text without an address, perhaps the beginning of a display name
    for pieces, mark in islice(_split(source), MOST_ADDRESSES):
        mailboxes: list[_Mailbox] = []
        if mark != ":":
            bracketed = _bracketed(pieces)
            mailboxes = bracketed or _bare(pieces)
            kinds = (kind for kind, text in pieces if kind != "comment" and not text.isspace())
            if not mailboxes:
                waiting.append([*pieces, ("text", mark)])
            elif waiting and bracketed and next(kinds) != "bracketed":
                name, local, domain = mailboxes[0]
                mailboxes[0] = [*chain(*waiting), *name], local, domain
                waiting = []
        if mailboxes or mark not in (",", ";") or len(waiting) > MOST_COMMAS_IN_NAME:
            for words_alone in waiting:
                yield from _without_domain(words_alone[:-1])
            waiting = []
        yield from mailboxes


def _split(source: str) -> Iterator[tuple[_Pieces, str]]:
    """The mailboxes with the mark after each: "" at the end of the header, ":" after the name of a group.

    A colon without a later semicolon is text.
    """
    last_semicolon = source.rfind(";")
    pieces: _Pieces = []
    for token in _TOKEN.finditer(source):
        kind, text = token.lastgroup or "", token[0]
        if kind != "mark":
            pieces.append((kind, text))
        elif text == ":" and token.start() > last_semicolon:
            pieces.append(("text", text))
        else:
            if not all(text.isspace() for _, text in pieces):
                yield pieces, text
            pieces = []
    if not all(text.isspace() for _, text in pieces):
        yield pieces, ""


def _bracketed(pieces: _Pieces) -> list[_Mailbox]:
    """The addresses in brackets, each with the name before it, else after it."""
    mailboxes: list[_Mailbox] = []
    without_domain: list[_Mailbox] = []
    name: _Pieces = []
    in_brackets = 0  # the place in `name` of the address without a domain
    for kind, text in pieces:
        if kind == "bracketed":
            inside = text[1:].removesuffix(">")
            quoted = _QUOTED_PART.fullmatch(inside.strip())
            if quoted:
                inside = _ESCAPED.sub(r"\1", quoted[1])
            if '"' not in inside:
                inside = _SPACED.sub(r"\1", _NESTED_COMMENT.sub(" ", inside))
            address = _IN_BRACKETS.fullmatch(inside)
            if address and not _BEGUN_WORD.search(address[0]):
                mailboxes.append((name, address[1], address[2]))
                name = []
                continue
            alone = _WITHOUT_DOMAIN.fullmatch(inside)
            if alone and text.endswith(">") and not without_domain:
                without_domain = [([*name], alone[1], "")]
                in_brackets = len(name)
        name.append((kind, text))
    if without_domain and not mailboxes:
        mailboxes = without_domain
        del name[in_brackets]
    if mailboxes and name and not _name(mailboxes[-1][0]):
        mailboxes[-1] = name, mailboxes[-1][1], mailboxes[-1][2]
    return mailboxes


def _bare(pieces: _Pieces) -> list[_Mailbox]:
    """The addresses without brackets. The other text is the name of a single address."""
    source = "".join(text for _, text in pieces)
    if "@" not in source:
        return []
    hidden = ("encoded", "comment", "bracketed")
    visible = "".join(" " * len(text) if kind in hidden else text for kind, text in pieces)
    spaced = _BARE_WITH_SPACES.fullmatch(visible)
    addresses = [*_BARE.finditer(visible)] or ([spaced] if spaced else [])
    addresses = [address for address in addresses if not _BEGUN_WORD.search(address[0])]
    if len(addresses) != 1:
        return [([], address[1], address[2]) for address in addresses]
    (address,) = addresses
    before = source[visible.rfind(":", 0, address.start()) + 1 : address.start()]
    other_text = f"{before} {source[address.end() :]}"
    if address.re is _BARE_WITH_SPACES:
        other_text = "".join(text for kind, text in pieces if kind == "comment")
    name = [(token.lastgroup or "", token[0]) for token in _TOKEN.finditer(other_text)]
    return [(name, address[1], address[2])]


def _without_domain(pieces: _Pieces) -> Iterator[_Mailbox]:
    comments = [piece for piece in pieces if piece[0] == "comment"]
    alone = _WITHOUT_DOMAIN.fullmatch("".join(text for kind, text in pieces if kind != "comment"))
    if alone:
        yield comments, alone[1], ""


def _name(pieces: _Pieces) -> str:
    """The display name in the pieces, else the comments."""
    texts = []
    for kind, text in pieces:
        if kind == "quoted":
            texts.append(_ESCAPED.sub(r"\1", text[1:-1]))
        elif kind == "comment" or not text.strip("<> \t"):
            texts.append(" ")
        elif kind == "text":
            texts.append(_ESCAPED_SPECIAL.sub(r"\1", _SPACES.sub(" ", text)))
        else:
            texts.append(text)
    comments = (_ESCAPED.sub(r"\1", text[1:-1]) for kind, text in pieces if kind == "comment")
    return decode_words("".join(texts)) or decode_words(" ".join(comments))
