"""Which recipients of a mail share a request: SendGrid takes so many of them at once, and so many bytes.

Sizes are reckoned without building the request. They may come out too large, never too small.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sending_app.api import payload
from sending_app.exceptions import TooLarge
from sending_app.mail import Attachment, Common, Envelope, Mail

#: To, cc and bcc together, over all personalizations of a request (Mail Send Overview, Mail Send Errors).
MOST_RECIPIENTS = 1000

#: In a request (the Mail Send specification).
MOST_PERSONALIZATIONS = 1000

#: A request has fewer bytes than this. "30MB" (Mail Send Overview) may be meant so or in a larger unit.
SIZE_LIMIT = 30_000_000

#: How long before its time SendGrid takes a mail (Mail Send Errors).
FURTHEST = timedelta(hours=72)


@dataclass(frozen=True)
class _Request:
    """What is in a request so far."""

    size: int
    recipients: int = 0
    personalizations: int = 0

    def grown(self, envelope: Envelope, size: int) -> "_Request":
        recipients = len(envelope.to) + len(envelope.cc) + len(envelope.bcc)
        return _Request(self.size + size, self.recipients + recipients, self.personalizations + 1)

    def fault(self) -> str:
        """The limit it is over, and what to do then; empty where it is over none."""
        if self.recipients > MOST_RECIPIENTS:
            return f"{MOST_RECIPIENTS} recipients, to, cc and bcc together. {self._for_fewer()}"
        if self.personalizations > MOST_PERSONALIZATIONS:
            return f"{MOST_PERSONALIZATIONS} personalizations. {self._for_fewer()}"
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


def split(mail: Mail) -> list[list[Envelope]]:
    """The mail's envelopes, in their order, as one list for each request.

    Raises TooLarge.
    """
    empty = request = _Request(_shared_size(mail.common, mail.attachments))
    found: list[list[Envelope]] = []
    for envelope, size in zip(mail.envelopes, _sizes(mail.common, mail.envelopes), strict=True):
        request = request.grown(envelope, size)
        if not found or (mail.is_batch and request.fault()):
            request = empty.grown(envelope, size)
            found.append([])
        if fault := request.fault():
            raise TooLarge(f"This mail cannot be sent: one request to SendGrid takes up to {fault}")
        found[-1].append(envelope)
    return found


def _shared_size(common: Common, attachments: list[Attachment]) -> int:
    """Bytes of a request with nobody to send to."""
    names = [replace(file, content=b"") for file in attachments]
    size = len(payload.encode(payload.build(common, [], names)))
    if payload.sends(common, attachments):
        size += sum(-(-len(file.content) // 3) * 4 for file in attachments)
    return size


def _sizes(common: Common, envelopes: list[Envelope]) -> Iterator[int]:
    """Bytes each personalization takes, at the most, with the comma after it."""
    # What is merged is no longer than its two sides beside each other. So the side that is the same
    # for all is written once, and theirs without it.
    nobody = Envelope(id="", to=[])
    same = len(payload.encode(payload.personalization(replace(common, tracked=False), nobody)))
    theirs = replace(common, global_data={}, extra={})
    for envelope in envelopes:
        yield len(payload.encode(payload.personalization(theirs, envelope))) + same + 1


def sending_time(common: Common, envelopes: Sequence[Envelope]) -> datetime | None:
    """The latest time any of these is to be sent at; None where there is none, or none that can be read."""
    # A personalization may have a time of its own (Mail Send API).
    times = [common.body.get("send_at"), common.extra.get("send_at")]
    times += [envelope.given.get("send_at") for envelope in envelopes if envelope.given]
    seconds = [time for time in times if isinstance(time, int) and not isinstance(time, bool)]
    try:
        return datetime.fromtimestamp(max(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
