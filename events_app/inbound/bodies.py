"""The parts of a mail that are its bodies, and the parts that are files.

No text is lost: each part is a body, or a file, or an alternative of a body.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, cast

from events_app.inbound.part import Part
from events_app.inbound.text import cid_urls
from events_app.inbound.text.transfer import encoded_content

TEXT, HTML = "text/plain", "text/html"

#: The most characters of a content that may be empty. A longer content is taken for a text.
_LONGEST_EMPTY = 1000

_Mail = TypeVar("_Mail", bound=Part)


@dataclass(frozen=True)
class _Shown(Generic[_Mail]):
    """A text that a mail program shows. The name of an alternative names no file."""

    part: _Mail
    is_alternative: bool

    @cached_property
    def is_file(self) -> bool:
        return not self.is_alternative and self.part.get_filename() is not None


class Contents(Generic[_Mail]):
    """The bodies and files of a mail, as its parts are now."""

    def __init__(self, mail: _Mail) -> None:
        self._leaves: list[_Mail] = []
        #: The parts that are alternatives of bodies, by identity.
        self._left_out: set[int] = set()
        self._empty: dict[int, bool] = {}
        shown = self._shown(mail)
        bodies = self._without_inlines(_without_files(shown))
        #: The parts of the plain text and of the HTML.
        self.text = [body.part for body in bodies[TEXT]]
        self.html = [body.part for body in bodies[HTML]]
        self._bodies = [body for of_kind in bodies.values() for body in of_kind]

    def files(self, *, inline: bool) -> list[_Mail]:
        """The files that the HTML shows, or the other files."""
        shown = _content_ids(self.html) if self.html else set()
        if inline and not shown:
            return []
        bodies = {id(body.part) for body in self._bodies if not body.is_file}
        return [
            leaf
            for leaf in self._leaves
            if id(leaf) not in bodies
            and bool(shown and leaf.content_id in shown) == inline
            and (inline or id(leaf) not in self._left_out or leaf.get_filename() is not None)
        ]

    def _shown(self, part: _Mail, *, is_alternative: bool = False) -> dict[str, list[_Shown[_Mail]]]:
        """The plain texts and the HTML that a mail program shows one below another.

        Of alternatives, the first that is neither empty nor a file. Of a report and a signed part, only the
        first inner part with such parts. In multipart/related, the parts behind the first only if the HTML
        has no name to refer to them.
        """
        content_type = part.get_content_type()
        shown: dict[str, list[_Shown[_Mail]]] = {TEXT: [], HTML: []}
        if not content_type.startswith("multipart/"):
            self._leaves.append(part)
            if content_type in shown and not part.is_attachment():
                shown[content_type].append(_Shown(part, is_alternative))
            return shown
        subtype = content_type.partition("/")[2]
        is_first = True
        for inner in cast("list[_Mail]", part.get_payload()) if part.is_multipart() else []:
            # The root of a related part has the place of the related part.
            has_place = is_first and subtype in ("related", "report", "signed")
            inside = self._shown(
                inner, is_alternative=subtype == "alternative" or (is_alternative and has_place)
            )
            for kind, texts in inside.items():
                if not shown[kind]:
                    shown[kind] = texts
                elif subtype == "alternative":
                    is_better = self._are_no_body(shown[kind]) and not self._are_no_body(texts)
                    left_out = shown[kind] if is_better else texts
                    self._left_out.update(id(text.part) for text in left_out)
                    shown[kind] = texts if is_better else shown[kind]
                elif subtype == "related":
                    shown[kind] += [text for text in texts if not _has_name_for_html(text.part)]
                elif subtype not in ("report", "signed"):
                    shown[kind] += texts
            is_first = False
        return shown

    def _are_no_body(self, texts: list[_Shown[_Mail]]) -> bool:
        """Whether each text is empty or a file."""
        return all(text.is_file or self._is_empty(text.part) for text in texts)

    def _is_empty(self, part: _Mail) -> bool:
        if id(part) not in self._empty:
            encoded = encoded_content(part) or ""
            self._empty[id(part)] = len(encoded) <= _LONGEST_EMPTY and not part.get_content_text().strip()
        return self._empty[id(part)]

    def _without_inlines(self, texts: dict[str, list[_Shown[_Mail]]]) -> dict[str, list[_Shown[_Mail]]]:
        """Without the texts that the HTML shows as inlines."""
        html = texts[HTML]
        named = {
            id(text.part)
            for text in (*texts[TEXT], *html[1:])
            if html and not text.is_alternative and text.part.content_id
        }
        if not named:
            return texts
        ids = _content_ids([text.part for text in html])
        return {
            kind: [text for text in of_kind if id(text.part) not in named or text.part.content_id not in ids]
            for kind, of_kind in texts.items()
        }


def _without_files(shown: dict[str, list[_Shown[_Mail]]]) -> dict[str, list[_Shown[_Mail]]]:
    """The texts that are no files; the first of each kind if all are files."""
    if sum(map(len, shown.values())) > 1:
        texts = {kind: [text for text in of_kind if not text.is_file] for kind, of_kind in shown.items()}
        if any(texts.values()):
            return texts
    return {kind: of_kind[:1] for kind, of_kind in shown.items()}


def _has_name_for_html(part: Part) -> bool:
    return "Content-ID" in part or "Content-Location" in part


def _content_ids(html: list[_Mail]) -> set[str]:
    return cid_urls.content_ids(joined([body.get_content_text() for body in html]))


def joined(texts: list[str]) -> str:
    """The texts of consecutive bodies, each beginning on its own line."""
    above = [text if text.endswith("\n") else f"{text}\n" for text in texts[:-1] if text]
    return "".join(above) + "".join(texts[-1:])
