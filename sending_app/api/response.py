"""What SendGrid's answer says about a mail it did not take; nothing in an answer makes this raise."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

#: Characters of SendGrid's words that are kept.
MAX_TEXT = 2000

#: Seconds to stay away, whatever a rate limit's reset says.
MAX_WAIT = 600.0

# "The from address does not match a verified Sender Identity." (Mail Send Errors)
_SENDER_IDENTITY = re.compile("sender identity", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    #: By name, in any case.
    headers: Mapping[str, str]
    content: bytes

    @cached_property
    def _json(self) -> Any:
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    @property
    def errors(self) -> list[dict[str, Any]]:
        """SendGrid's list of objects with "message", "field" and "help", any of which may be null."""
        errors = self._json.get("errors") if isinstance(self._json, dict) else None
        return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []

    def refuses_the_sender(self) -> bool:
        """Whether it is the mail's `from` that is refused."""
        return any(
            "from" in str(error.get("field")).split(".") or _SENDER_IDENTITY.search(str(error.get("message")))
            for error in self.errors
        )

    def detail(self) -> str:
        """SendGrid's own words in one line."""
        said = " ".join(_sentence(error) for error in self.errors if error.get("message"))
        line = " ".join(printable(said or self._text()).split())
        return line[:MAX_TEXT] or f"{self.status} {self.reason}"

    def full_text(self) -> str:
        """All that came, in lines."""
        try:
            text = json.dumps(self._json, indent=2, ensure_ascii=False) if self._json else self._text()
        except RecursionError:  # laid out in Python; read in C, which goes deeper
            text = self._text()
        return printable(text)[:MAX_TEXT]

    def _text(self) -> str:
        text = self.content.decode("utf-8", "replace").strip()
        # nginx in front of it answers in HTML: 413, 502, 504 (anymail issue 55).
        what = "a page of HTML" if text.startswith("<") else "an empty answer"
        return text[:MAX_TEXT] if text[:1] not in ("", "<") else f"{self.status} {self.reason}: {what}"

    def wait(self) -> float | None:
        """Seconds until a rate limit is over; None where it does not say."""
        reset = self.headers.get("X-RateLimit-Reset", "").strip()  # in epoch seconds (API Responses)
        if not (reset.isascii() and reset.isdecimal()):
            return None
        return min(max(float(reset) - time.time(), 1.0), MAX_WAIT)


def printable(text: str) -> str:
    """`text` as any database takes it and any terminal shows it."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)


def _sentence(error: Mapping[str, Any]) -> str:
    field = error.get("field")
    return f"{error['message']} ({field})" if field else f"{error['message']}"
