"""Which recipients of a mail share a request: SendGrid takes so many of them at once, and so many bytes.

Sizes are reckoned without building the request. They may come out too large, never too small.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sending_app.api import payload
from sending_app.exceptions import TooLarge
from sending_app.mail import Attachment, ComposedMail, Personalization, SharedContent

#: To, cc and bcc together, over all personalizations of a request (Mail Send Overview, Mail Send Errors).
MAX_RECIPIENTS = 1000

#: In a request (the Mail Send specification).
MAX_PERSONALIZATIONS = 1000

#: A request has fewer bytes than this. "30MB" (Mail Send Overview) may be meant so or in a larger unit.
SIZE_LIMIT = 30_000_000

#: How long before its time SendGrid takes a mail (Mail Send Errors).
MAX_SCHEDULE_AHEAD = timedelta(hours=72)


@dataclass(frozen=True)
class _Request:
    """What is in a request so far."""

    size: int
    recipients: int = 0
    personalizations: int = 0

    def grown(self, personalization: Personalization, size: int) -> "_Request":
        recipients = len(personalization.to) + len(personalization.cc) + len(personalization.bcc)
        return _Request(self.size + size, self.recipients + recipients, self.personalizations + 1)

    def fault(self) -> str:
        """The limit it is over, and what to do then; empty where it is over none."""
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
        if self.personalizations > 1:  # the caller's own list of them
            return "Send several messages."
        return (
            "Send it to fewer in cc and bcc, and set `merge_data` ({} will do): each of `to` then gets "
            "a mail of their own, in as many requests as it takes."
        )


def split(mail: ComposedMail) -> list[list[Personalization]]:
    """The mail's personalizations, in their order, as one list for each request.

    Raises TooLarge.
    """
    empty = request = _Request(_shared_size(mail.shared, mail.attachments))
    found: list[list[Personalization]] = []
    for personalization, size in zip(
        mail.personalizations, _sizes(mail.shared, mail.personalizations), strict=True
    ):
        request = request.grown(personalization, size)
        if not found or (mail.is_batch and request.fault()):
            request = empty.grown(personalization, size)
            found.append([])
        if fault := request.fault():
            raise TooLarge(f"This mail cannot be sent: one request to SendGrid takes up to {fault}")
        found[-1].append(personalization)
    return found


def _shared_size(shared: SharedContent, attachments: list[Attachment]) -> int:
    """Bytes of a request with nobody to send to."""
    names = [replace(file, content=b"") for file in attachments]
    size = len(payload.encode(payload.build(shared, [], names)))
    if payload.has_attachments(shared, attachments):
        size += sum(-(-len(file.content) // 3) * 4 for file in attachments)
    return size


def _sizes(shared: SharedContent, personalizations: list[Personalization]) -> Iterator[int]:
    """Bytes each personalization takes, at the most, with the comma after it."""
    merged_size = 0
    if shared.global_data or shared.extra:
        # Merged data is no longer than both sides beside each other: the side that all share is built once.
        nobody = Personalization(id="", to=[])
        everyone = payload.build_personalization(replace(shared, tracked=False), nobody)
        merged_size = len(payload.encode(everyone))
        shared = replace(shared, global_data={}, extra={})
    for personalization in personalizations:
        size = len(payload.encode(payload.build_personalization(shared, personalization)))
        yield size + merged_size + 1


def sending_time(shared: SharedContent, personalizations: Sequence[Personalization]) -> datetime | None:
    """The latest time any of these is to be sent at; None where there is none, or none that can be read."""
    # A personalization may have a time of its own (Mail Send API).
    times = [shared.body.get("send_at"), shared.extra.get("send_at")]
    times += [
        personalization.given.get("send_at") for personalization in personalizations if personalization.given
    ]
    seconds = [time for time in times if isinstance(time, int) and not isinstance(time, bool)]
    try:
        return datetime.fromtimestamp(max(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
