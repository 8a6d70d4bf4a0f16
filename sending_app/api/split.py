"""Split a mail into requests: SendGrid limits the recipients and the bytes of a request.

Sizes are estimated without building the request. An estimate may be too large, never too small.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sending_app.api import payload
from sending_app.exceptions import TooLarge
from sending_app.mail import Attachment, ComposedMail, Personalization, SharedContent

#: To, cc and bcc together, over all personalizations of a request (Mail Send Overview, Mail Send Errors).
MAX_RECIPIENTS = 1000

#: Per request (Mail Send specification).
MAX_PERSONALIZATIONS = 1000

#: A request must be smaller. "30MB" (Mail Send Overview) may also mean a larger unit.
SIZE_LIMIT = 30_000_000

#: How far ahead SendGrid accepts `send_at` (Mail Send Errors).
MAX_SCHEDULE_AHEAD = timedelta(hours=72)


@dataclass(frozen=True)
class _Request:
    """Running totals of a request."""

    size: int
    recipients: int = 0
    personalizations: int = 0

    def grown(self, personalization: Personalization, size: int) -> "_Request":
        recipients = len(personalization.to) + len(personalization.cc) + len(personalization.bcc)
        return _Request(self.size + size, self.recipients + recipients, self.personalizations + 1)

    def fault(self) -> str:
        """The exceeded limit, with advice; empty within all limits."""
        if self.recipients > MAX_RECIPIENTS:
            return f"{MAX_RECIPIENTS} recipients, to, cc and bcc together. {self._for_fewer()}"
        if self.personalizations > MAX_PERSONALIZATIONS:
            return f"{MAX_PERSONALIZATIONS} personalizations. {self._for_fewer()}"
        if self.size >= SIZE_LIMIT:
            return (
                f"{SIZE_LIMIT - 1} bytes of JSON, attachments in base64. Link to files, do not attach them."
            )
        return ""

    def _for_fewer(self) -> str:
        if self.personalizations > 1:  # the caller wrote the list
            return "Send several messages."
        return (
            "Send it to fewer in cc and bcc, and set `merge_data` ({} will do): each `to` recipient then "
            "gets a separate mail, in as many requests as needed."
        )


def split_into_requests(mail: ComposedMail) -> list[list[Personalization]]:
    """Split the mail's personalizations, in order, into a list for each request. Raises TooLarge."""
    empty = request = _Request(_shared_size(mail.shared, mail.attachments))
    requests: list[list[Personalization]] = []
    for personalization, size in zip(
        mail.personalizations, _sizes(mail.shared, mail.personalizations), strict=True
    ):
        request = request.grown(personalization, size)
        if not requests or (mail.is_batch and request.fault()):
            request = empty.grown(personalization, size)
            requests.append([])
        if fault := request.fault():
            raise TooLarge(f"This mail cannot be sent: one request to SendGrid takes up to {fault}")
        requests[-1].append(personalization)
    return requests


def _shared_size(shared: SharedContent, attachments: list[Attachment]) -> int:
    """Bytes of a request without recipients."""
    names = [replace(file, content=b"") for file in attachments]
    size = len(payload.encode(payload.build(shared, [], names)))
    if payload.has_attachments(shared, attachments):
        size += sum(-(-len(file.content) // 3) * 4 for file in attachments)
    return size


def _sizes(shared: SharedContent, personalizations: list[Personalization]) -> Iterator[int]:
    """Bytes of each personalization at most, with a comma."""
    shared_size = 0
    if shared.global_data or shared.extra:
        # Merged content is no longer than both sides together. So the shared side is encoded once, and each
        # personalization without the shared side.
        nobody = Personalization(id="", to=[])
        everyone = payload.build_personalization(replace(shared, tracked=False), nobody)
        shared_size = len(payload.encode(everyone))
        shared = replace(shared, global_data={}, extra={})
    for personalization in personalizations:
        size = len(payload.encode(payload.build_personalization(shared, personalization)))
        yield size + shared_size + 1


def sending_time(shared: SharedContent, personalizations: Sequence[Personalization]) -> datetime | None:
    """The latest `send_at`; None without a readable `send_at`."""
    # A personalization may have its own `send_at` (Mail Send API).
    times = [shared.body.get("send_at"), shared.extra.get("send_at")]
    times += [
        personalization.given.get("send_at") for personalization in personalizations if personalization.given
    ]
    seconds = [time for time in times if isinstance(time, int) and not isinstance(time, bool)]
    try:
        return datetime.fromtimestamp(max(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
