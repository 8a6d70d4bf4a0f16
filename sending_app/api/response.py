"""Read SendGrid's answer to a mail. No answer makes the code here raise."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sending_app.exceptions import Outcome

#: Statuses that pause the account. Other 4xx are about a single mail.
ABOUT_THE_ACCOUNT = {
    401,  # a wrong key; also "Maximum credits exceeded" (sendgrid-nodejs issue 1032)
    404,  # `SENDGRID_API_URL`
    405,  # as 404
    406,  # a proxy changes the headers
    407,  # a proxy asks for a login
    415,  # as 406
    429,  # rate limit
    451,  # this host is in another region than the account (API Errors)
}

#: Characters of SendGrid's text that are kept.
MAX_TEXT = 2000

#: Longest wait in seconds for the reset of a rate limit.
MAX_WAIT = 600.0

# "The from address does not match a verified Sender Identity." (Mail Send Errors)
_SENDER_IDENTITY = re.compile("sender identity", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    #: Case-insensitive.
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
        """SendGrid's error objects with "message", "field" and "help". Each field may be null."""
        errors = self._json.get("errors") if isinstance(self._json, dict) else None
        return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []

    def outcome(self, had_whole_request: bool) -> Outcome:
        """Classify the answer. Without the whole request, SendGrid cannot have the mail."""
        status = self.status
        if 200 <= status < 300:
            return Outcome.ACCEPTED
        if 300 <= status < 400 or status in ABOUT_THE_ACCOUNT:
            return Outcome.PAUSED
        if status == 403:  # a refused sender, a missing scope, a block (API Responses)
            return Outcome.FAILED if self.refuses_the_sender() else Outcome.PAUSED
        if status == 408:  # SendGrid did not get the whole request (RFC 9110)
            return Outcome.RETRY
        if 400 <= status < 500:
            return Outcome.FAILED
        return Outcome.UNKNOWN if had_whole_request else Outcome.RETRY

    def refuses_the_sender(self) -> bool:
        """Whether SendGrid refuses the `from` of the mail."""
        return any(
            "from" in str(error.get("field")).split(".") or _SENDER_IDENTITY.search(str(error.get("message")))
            for error in self.errors
        )

    def detail(self) -> str:
        """SendGrid's error text in one line."""
        sentences = [
            f"{error['message']} ({error['field']})" if error.get("field") else str(error["message"])
            for error in self.errors
            if error.get("message")
        ]
        line = " ".join(without_control_characters(" ".join(sentences) or self._text()).split())
        return line[:MAX_TEXT] or f"{self.status} {self.reason}"

    def full_text(self) -> str:
        """The whole answer, indented."""
        try:
            text = json.dumps(self._json, indent=2, ensure_ascii=False) if self._json else self._text()
        except RecursionError:  # indenting (in Python) allows less depth than parsing (in C)
            text = self._text()
        return without_control_characters(text)[:MAX_TEXT]

    def _text(self) -> str:
        text = self.content.decode("utf-8", "replace").strip()
        if not text:
            return f"{self.status} {self.reason}: an empty answer"
        if text.startswith("<"):  # nginx in front of SendGrid: 413, 502, 504 (anymail issue 55)
            return f"{self.status} {self.reason}: a page of HTML"
        return text[:MAX_TEXT]

    def wait(self) -> float | None:
        """Seconds until a rate limit ends; None if the answer has no time."""
        reset = self.headers.get("X-RateLimit-Reset", "").strip()  # in epoch seconds (API Responses)
        if not (reset.isascii() and reset.isdecimal()):
            return None
        return min(max(float(reset) - time.time(), 1.0), MAX_WAIT)


def without_control_characters(text: str) -> str:
    """Replace control characters, which PostgreSQL may refuse and a terminal obeys, with spaces."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
