"""Read MIME types as callers write them, and write the types that SendGrid takes.

SendGrid's pages forbid parameters in a type. SendGrid does refuse `charset` (django-anymail issue 492) and
`boundary` (sendgrid-java issue 177), but takes the method of a calendar (sendgrid-ruby issue 298,
sendgrid-java issue 552; as an attachment: sendgrid-nodejs issue 1313). A calendar needs the method to be an
invitation (RFC 6047, 2.4).
"""

import re
from typing import NamedTuple

from sending_app.exceptions import SerializationError

#: Characters of a type: size of the outbox's column. A registered type has up to 255 (RFC 6838, 4.2).
MAX_TYPE = 255

CALENDAR = "text/calendar"

#: Parameters that a text can lose. `charset`: the text is Unicode, and SendGrid adds its own. `name`: an
#: alternative has no file name. `component` and `profile` repeat the content (RFC 5545, 8.1; RFC 2425). But
#: `format` and `delsp` say how to read the text (RFC 3676).
REDUNDANT = frozenset({"charset", "name", "component", "profile"})

_word = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"
_type = re.compile(rf"\s*({_word}/{_word})\s*(?:;|$)", re.ASCII)
_parameter = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)
_method = re.compile(r"[A-Za-z0-9-]+")


class MediaType(NamedTuple):
    """A MIME type, such as "text/calendar", and its parameters. All names are in lower case."""

    name: str
    parameters: dict[str, str]

    def for_sendgrid(self, field: str) -> str:
        """The type for a request. The method of a calendar is its only parameter.

        Raises SerializationError if the type is too long, or the method is not a word.
        """
        written = self.name
        method = self.parameters.get("method")
        if self.name == CALENDAR and method is not None:
            if not _method.fullmatch(method):
                raise SerializationError(f"{field} has the method {method!r}, not a word such as REQUEST")
            written = f"{CALENDAR}; method={method.upper()}"
        if len(written) > MAX_TYPE:
            raise SerializationError(f"{field} has {len(written)} characters; up to {MAX_TYPE} fit")
        return written


def parse_media_type(written: str) -> MediaType | None:
    """Parse the value of a Content-Type header; None if the value is not a MIME type."""
    match = _type.match(written)
    if match is None:
        return None
    parameters: dict[str, str] = {}
    for name, quoted, bare in _parameter.findall(written, match.end(1)):
        parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or bare.strip())
    return MediaType(match[1].lower(), parameters)
