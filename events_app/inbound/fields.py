"""The plain fields of a post as text, each in the charset that the post names for it."""

from typing import Any

from events_app.decode import Unreadable
from events_app.decode import decode as decode_json
from events_app.inbound.charset import decode
from events_app.inbound.form import Form

#: The fields that hold a mail's source, which has charsets of its own. SendGrid's reference says `email`,
#: its agent skill `rawEmail`.
SOURCES = ("email", "rawEmail")

#: Bytes of JSON that are read. The names of two thousand files take half as much.
MOST_JSON = 1_000_000


class Fields(dict[str, str]):
    """The fields without the mail's source: fit for a JSON column."""

    def __init__(self, form: Form) -> None:
        self.charsets: dict[str, str] = {}
        charsets = json_object(form.fields.get("charsets", b""))
        self.charsets = {name: each for name, each in charsets.items() if isinstance(each, str)}
        super().__init__(
            (decode(name.encode("utf-8", "replace")), decode(value, self.charsets.get(name, "")))
            for name, value in form.fields.items()
            if name not in SOURCES
        )

    def object(self, name: str) -> dict[str, Any]:
        """The JSON object in a field; an empty one where it holds none."""
        return json_object(self.get(name, "").encode())

    def line(self, name: str) -> str | None:
        """A field of one word or line; None where it is missing or empty."""
        return self.get(name, "").strip() or None


def json_object(value: bytes) -> dict[str, Any]:
    """The JSON object in a value; an empty one where it holds none, or is longer than `MOST_JSON`."""
    if len(value) > MOST_JSON:
        return {}
    try:
        return decode_json(value)
    except Unreadable:
        return {}
