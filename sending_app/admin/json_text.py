"""Posted JSON as text for a page."""

import json
from contextlib import suppress

#: Most characters of a text on a page.
MAX_TEXT = 20_000


def pretty_json(raw: bytes) -> str:
    """The JSON with a line for each value; anything else as posted. Only the first `MAX_TEXT` characters."""
    text = raw[: 4 * MAX_TEXT].decode("utf-8", "backslashreplace")
    if len(raw) <= MAX_TEXT:
        with suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
