"""Read SendGrid's answer to a mail. No answer makes the code here raise."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sending_app.exceptions import Outcome

#: Statuses that pause the account, whatever the answer says.
ABOUT_THE_ACCOUNT = {
    401,  # a wrong key; also "Maximum credits exceeded" (sendgrid-nodejs issue 1032)
    407,  # a proxy asks for a login
    429,  # rate limit
}

#: Statuses that pause the account, unless the answer names a fault of the mail. Other 4xx are about the mail.
ABOUT_EITHER = {
    403,  # a missing scope or a block; also a refused sender or template (API Responses)
    404,  # `SENDGRID_API_URL`
    405,  # as 404
    406,  # a proxy changes the headers
    415,  # as 406; also "Invalid UTF8 in request" (sendgrid/docs issue 2270)
    451,  # this host is in another region than the account (API Errors)
}

#: Fields of a request that all its recipients share (Mail Send API). An error of `custom_args` may be about a
#: recipient: SendGrid merges the custom arguments of both levels.
SHARED_FIELDS = {
    *("from", "reply_to", "reply_to_list", "subject", "content", "template_id", "attachments", "headers"),
    *("sections", "categories", "send_at", "batch_id", "asm", "ip_pool_name", "mail_settings"),
    "tracking_settings",
}

#: Statuses of an answer that may be about a recipient without naming the recipient.
_ABOUT_CONTENT = {400, 415}

#: Characters of SendGrid's text that are kept.
MAX_TEXT = 2000

#: Longest wait in seconds for the reset of a rate limit.
MAX_WAIT = 600.0

# "The from address does not match a verified Sender Identity." (Mail Send Errors)
# Not "dynamic_template_data", which each recipient has.
_SHARED_FAULT = re.compile(r"sender identity|\btemplate", re.IGNORECASE)

_FAULT_OF_MAIL = re.compile("invalid utf-?8|dynamic_template_data", re.IGNORECASE)

# As in "personalizations.99.to.0.email" (sendgrid-nodejs issue 974). A thousand is the most.
_PERSONALIZATION = re.compile(r"\bpersonalizations?[.\[]([0-9]{1,3})(?![0-9])")


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
        if status in ABOUT_EITHER:
            return Outcome.FAILED if self.names_the_mail() else Outcome.PAUSED
        if status == 408:  # SendGrid did not get the whole request (RFC 9110)
            return Outcome.RETRY
        if 400 <= status < 500:
            return Outcome.FAILED
        return Outcome.UNKNOWN if had_whole_request else Outcome.RETRY

    def names_the_mail(self) -> bool:
        """Whether an error names a field of the mail, its sender, its template data, or its encoding."""
        return any(
            _is_shared(error)
            or _root(error) in ("personalizations", "custom_args")
            or _place(error) is not None
            or _FAULT_OF_MAIL.search(str(error.get("message")))
            for error in self.errors
        )

    def refused_personalizations(self) -> frozenset[int] | None:
        """The places, in the request, of the personalizations that a refusal names.

        Empty: a 400 or 415 may be about any of them. None: the refusal is about the content that all share,
        has no error, or has another status and names no personalization.
        """
        errors = self.errors
        if not errors or any(map(_is_shared, errors)):
            return None
        places = frozenset(place for error in errors if (place := _place(error)) is not None)
        return places if places or self.status in _ABOUT_CONTENT else None

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


def _is_shared(error: dict[str, Any]) -> bool:
    """Whether the error is about content that all recipients of the request share."""
    if error.get("field"):
        return _root(error) in SHARED_FIELDS
    return _place(error) is None and bool(_SHARED_FAULT.search(str(error.get("message"))))


def _place(error: dict[str, Any]) -> int | None:
    """The place of the personalization that the error names in its field, else in its message."""
    texts = (str(error.get(name)) for name in ("field", "message"))
    place = next(filter(None, map(_PERSONALIZATION.search, texts)), None)
    return int(place[1]) if place else None


def _root(error: dict[str, Any]) -> str:
    """The first name in the path of the error's field."""
    return re.split(r"[.\[]", str(error.get("field")), maxsplit=1)[0]


def without_control_characters(text: str) -> str:
    """Replace control characters, which PostgreSQL may refuse and a terminal obeys, with spaces."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
