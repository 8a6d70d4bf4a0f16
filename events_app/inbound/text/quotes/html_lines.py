"""HTML -> its lines as displayed."""

import re
from collections import Counter
from html import unescape
from typing import NamedTuple

from events_app.inbound.text.quotes.html_elements import EMBEDDED, HEAD, INLINE, RAW, VOID, Element
from events_app.inbound.text.quotes.line import Line, displayed

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

# The text in place of an embedded element.
_EMBEDDED = "\ufffc"


class Tag(NamedTuple):
    """A tag of an element with an end tag, from `begin` up to `end` in the HTML."""

    begin: int
    end: int
    name: str
    closes: bool


class HTMLLines:
    """The lines of HTML, as displayed, and the tags."""

    def __init__(self, html: str) -> None:
        self.lines: list[Line] = []
        #: Where each line begins in the HTML, with the tags opened for the line.
        self.begins: list[int] = []
        self.tags: list[Tag] = []
        self._html = html
        self._open: list[Element] = []
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
        if name not in INLINE:
            self._end_line()
        elif name in ("td", "th"):
            self._text.append(" ")
        if name not in VOID:
            self.tags.append(Tag(token.start(), end, name, bool(token["end"])))
        if token["end"]:
            self._close(name)
            return end
        if self._begin is None and name not in HEAD:
            self._begin = token.start()
        if name in EMBEDDED:
            self._text.append(_EMBEDDED)
        if name in RAW:
            closing = RAW[name].search(self._html, end)
            return closing.start() if closing else len(self._html)
        if name not in VOID:
            self._open_element(Element.of(name, token["attributes"]))
        return end

    def _read_line_break(self, at: int) -> None:
        if self._begin is None:
            self._begin = at
        self._end_line(line_break=True)
        if self.lines[-1].text:
            self._begin = at

    def _open_element(self, element: Element) -> None:
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
