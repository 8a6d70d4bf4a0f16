"""The HTML of a reply without the quoted mail."""

import re
from bisect import bisect_left
from collections import Counter
from html import unescape
from typing import NamedTuple

from events_app.inbound.text.quotes.line import Line, displayed
from events_app.inbound.text.quotes.reply import kept

#: The most characters and tags of HTML to search for a quote.
MOST_HTML = 1_000_000
MOST_TAGS = 50_000

# As browsers read HTML: a tag, a comment or a quoted value that does not end goes on to the end of the text.
# No character is read more than a few times.
_TOKEN = re.compile(
    r"""
      <!--(?:-?>|.*?(?:--!?>|\Z))
    | <(?P<end>/?)(?P<name>[A-Za-z][^\s/>]*+)
      (?P<attributes>(?:
          [\s/]++
        | [^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+))?+
      )*+)
      (?:>|\Z)
    | <[!?/][^>]*+(?:>|\Z)
    | (?P<text>[^<]++|<)
    """,
    re.VERBOSE | re.DOTALL,
)
_ATTRIBUTE = re.compile(
    r"""(?<![^\s/"'])(class|id|type|style)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']++))""", re.IGNORECASE
)

# The content of these elements is not displayed, and has no tags.
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style", "title", "xmp")
}

_VOID = frozenset(
    {*("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "wbr")}
)
_INLINE = frozenset(
    {
        *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "center", "cite", "code", "del", "em", "font"),
        *("i", "img", "ins", "kbd", "label", "mark", "o:p", "object", "q", "s", "samp", "small", "span"),
        *("strike", "strong", "sub", "sup", "td", "th", "time", "tt", "u", "var", "wbr"),
    }
)
_HEAD = frozenset({"html", "head", "body", "base", "link", "meta", *_RAW})

# The element has a quoted mail. Outlook on the web and for Mac, Yahoo, Proton Mail, Tuta, Zoho.
_QUOTING_CLASSES = frozenset(
    {"yahoo_quoted", "protonmail_quote", "tutanota_quote", "zmail_extra", "front-blockquote"}
)
_QUOTING_IDS = frozenset({"mail-editor-reference-message-container", "olk_src_body_section"})

# The element introduces a quoted mail: Gmail, Thunderbird, Outlook on the web, Roundcube.
_INTRODUCING_CLASSES = frozenset(
    {"gmail_attr", "moz-cite-prefix", "moz-email-headers-table", "outlookmessageheader"}
)
_INTRODUCING_IDS = frozenset({"divrplyfwdmsg", "appendonsend", "reply-intro"})
# Outlook 2007 and later: the line above the header block.
_OUTLOOK_LINE = re.compile(
    r"border:none;border-top:solid #[0-9a-f]{6} 1\.0pt;padding:3\.0pt 0", re.IGNORECASE
)

# An image counts as a text.
_IMAGE = "\ufffc"


class _Tag(NamedTuple):
    begin: int
    end: int
    name: str
    closes: bool


class _Element(NamedTuple):
    name: str
    introduces: bool = False
    quotes: bool = False
    #: The element begins a quoted mail, or the lines that introduce one.
    marks: bool = False

    @classmethod
    def read(cls, name: str, attributes: str) -> "_Element":
        element = cls(name)
        if name not in ("blockquote", "div", "p", "span", "table"):
            return element
        for key, *values in _ATTRIBUTE.findall(attributes):
            value = "".join(values).lower()
            introduces = quotes = False
            match key.lower():
                case "class":
                    classes = set(value.split())
                    introduces = not classes.isdisjoint(_INTRODUCING_CLASSES)
                    quotes = not classes.isdisjoint(_QUOTING_CLASSES)
                    quotes |= name == "blockquote" and "gmail_quote" in classes
                case "id":
                    introduces = value.removeprefix("x_") in _INTRODUCING_IDS
                    quotes = value in _QUOTING_IDS
                case "type":
                    quotes = name == "blockquote" and value == "cite"
                case _:
                    introduces = bool(_OUTLOOK_LINE.match(value.replace("; ", ";").replace(": ", ":")))
            if introduces or quotes:
                return cls(name, introduces, quotes, marks=True)
        return element


class _Reader:
    """Reads the lines of HTML, as displayed, and the tags."""

    def __init__(self, html: str) -> None:
        self.lines: list[Line] = []
        #: Where each line begins in the HTML, with the tags opened for the line.
        self.begins: list[int] = []
        self.tags: list[_Tag] = []
        self._html = html
        self._open: list[_Element] = []
        self._counts: Counter[str] = Counter()  # of the open elements, by name
        self._introducing = self._quoting = 0  # the number of such open elements
        self._marked = False
        self._text: list[str] = []
        self._begin: int | None = None
        at = 0
        while token := _TOKEN.match(html, at):
            at = token.end()
            if token["text"]:
                self._read_text(token["text"], token.start())
            elif token["name"]:
                at = self._read_tag(token)
        self._end_line()

    def _read_text(self, text: str, at: int) -> None:
        for line in text.splitlines(keepends=True) if self._counts["pre"] else [text]:
            if self._begin is None and (self._counts["pre"] or not line.isspace()):
                self._begin = at
            self._text.append(unescape(line) if "&" in line else line)
            if self._counts["pre"] and line.endswith("\n"):
                self._end_line(line_break=True)
            at += len(line)

    def _read_tag(self, token: re.Match[str]) -> int:
        """Read a tag, and return where the next token begins."""
        name, end = token["name"].lower(), token.end()
        if name == "br":
            self._read_line_break(token.start())
            return end
        if name not in _INLINE:
            self._end_line()
        elif name in ("td", "th"):
            self._text.append(" ")
        if name not in _VOID:
            self.tags.append(_Tag(token.start(), end, name, bool(token["end"])))
        if token["end"]:
            self._close(name)
            return end
        if self._begin is None and name not in _HEAD:
            self._begin = token.start()
        if name in _RAW:
            closing = _RAW[name].search(self._html, end)
            return closing.start() if closing else len(self._html)
        if name == "img":
            self._text.append(_IMAGE)
        elif name not in _VOID:
            self._open_element(_Element.read(name, token["attributes"]))
        return end

    def _read_line_break(self, at: int) -> None:
        if self._begin is None:
            self._begin = at
        self._end_line(line_break=True)
        if self.lines[-1].text:
            self._begin = at

    def _open_element(self, element: _Element) -> None:
        self._marked |= element.marks
        self._introducing += element.introduces
        self._quoting += element.quotes
        self._open.append(element)
        self._counts[element.name] += 1

    def _close(self, name: str) -> None:
        """Close the innermost element of this name, with the elements in it."""
        while self._counts[name]:
            element = self._open.pop()
            self._counts[element.name] -= 1
            self._introducing -= element.introduces
            self._quoting -= element.quotes
            if element.name == name:
                return

    def _end_line(self, *, line_break: bool = False) -> None:
        text = displayed("".join(self._text))
        self._text.clear()
        if not text and not line_break:
            return
        marked = text.startswith(">")
        self.lines.append(
            Line(
                text.lstrip("> ") if marked else text,
                quoted=marked or self._quoting > 0,
                indented=self._counts["blockquote"] > 0,
                introduces=self._marked or self._introducing > 0,
            )
        )
        self.begins.append(len(self._html) if self._begin is None else self._begin)
        self._begin, self._marked = None, False


def without_quotes_html(html: str) -> str:
    """The new words of a reply in HTML, by the rule of `without_quotes`; the other markup is unchanged.

    The elements in which mail programs put a quoted mail count, too. HTML beyond `MOST_HTML` or `MOST_TAGS`
    is unchanged.
    """
    html = html.rstrip()
    if len(html) > MOST_HTML or html.count("<") > MOST_TAGS:
        return html
    reader = _Reader(html)
    lines = len(reader.lines)
    parts = kept(reader.lines)
    if parts == [(0, lines)]:
        return html
    if not parts:
        return ""
    borders = [*reader.begins, len(html)]
    source = [html[: borders[0]]]
    after = 0
    for begin, end in [*parts, (lines, lines)]:
        first, last = (bisect_left(reader.tags, (borders[line],)) for line in (after, begin))
        outer = _unpaired(reader.tags[first:last])
        source += [html[tag.begin : tag.end] for tag in outer if begin < lines or tag.closes]
        source.append(html[borders[begin] : borders[end]])
        after = end
    return "".join(source).rstrip()


def _unpaired(tags: list[_Tag]) -> list[_Tag]:
    """The tags whose element begins or ends outside of these tags."""
    outer: list[_Tag] = []
    inner: list[_Tag] = []
    counts: Counter[str] = Counter()
    for tag in tags:
        if not tag.closes:
            inner.append(tag)
            counts[tag.name] += 1
        elif not counts[tag.name]:
            outer.append(tag)
        else:
            while True:
                opened = inner.pop()
                counts[opened.name] -= 1
                if opened.name == tag.name:
                    break
    return sorted([*outer, *inner])
