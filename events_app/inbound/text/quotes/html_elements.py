"""The elements of HTML in which mail programs put a quoted mail, and the lines that introduce one."""

import re
from typing import NamedTuple

_ATTRIBUTE = re.compile(
    r"""(?<![^\s/"'])(class|id|type|style)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']++))""", re.IGNORECASE
)

#: Elements whose content has no lines of the mail, with the search for their end.
RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "svg", "title", "xmp")
}

VOID = frozenset(
    {*("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "wbr")}
)
#: Elements that display something besides a text.
EMBEDDED = frozenset({"audio", "canvas", "embed", "iframe", "img", "input", "object", "svg", "video"})
INLINE = frozenset(
    {
        *EMBEDDED,
        *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "center", "cite", "code", "del", "em", "font"),
        *("i", "ins", "kbd", "label", "mark", "o:p", "q", "s", "samp", "small", "span"),
        *("strike", "strong", "sub", "sup", "td", "th", "time", "tt", "u", "var", "wbr"),
    }
)
HEAD = frozenset({"html", "head", "body", "base", "link", "meta", *RAW}) - EMBEDDED

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


class Element(NamedTuple):
    """An open element, as far as quotes matter."""

    name: str
    #: The lines in the element introduce a quoted mail.
    introduces: bool = False
    #: The lines in the element belong to a quoted mail.
    quotes: bool = False
    #: The next line introduces or begins a quoted mail, even if the element is empty.
    marks: bool = False

    @classmethod
    def of(cls, name: str, attributes: str) -> "Element":
        element = cls(name)
        if name not in ("blockquote", "div", "p", "span", "table"):
            return element
        for key, double_quoted, single_quoted, bare in _ATTRIBUTE.findall(attributes):
            value = (double_quoted or single_quoted or bare).lower()
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
