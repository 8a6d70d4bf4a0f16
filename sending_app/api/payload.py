"""The requests of a mail to SendGrid's Mail Send: split a mail into requests, and build the body of each.

SendGrid limits the recipients and the bytes of a request. Sizes are estimated without building the request.
An estimate may be too large, never too small. The values of a mail stay unchanged.
"""

import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from events_app.signals import MESSAGE_ID_ARG
from sending_app.exceptions import TooLarge
from sending_app.mail import (
    AttachedFile,
    ComposedMail,
    Personalization,
    SharedContent,
    fill_marker,
    merge_deep,
)

#: To, cc and bcc together, over all personalizations of a request (Mail Send Overview, Mail Send Errors).
MAX_RECIPIENTS = 1000

#: Per request (Mail Send specification).
MAX_PERSONALIZATIONS = 1000

#: A request must be smaller. "30MB" (Mail Send Overview) may also mean a larger unit.
SIZE_LIMIT = 30_000_000

#: How far ahead SendGrid accepts `send_at` (Mail Send Errors).
MAX_SCHEDULE_AHEAD = timedelta(hours=72)

_encoder = msgspec.json.Encoder()


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


def _shared_size(shared: SharedContent, attachments: list[AttachedFile]) -> int:
    """Bytes of a request without recipients."""
    names = [replace(file, content=b"") for file in attachments]
    size = len(encode_body(build(shared, [], names)))
    if "attachments" not in shared.body:
        size += sum(-(-len(file.content) // 3) * 4 for file in attachments)
    return size


def _sizes(shared: SharedContent, personalizations: list[Personalization]) -> Iterator[int]:
    """Bytes of each personalization at most, with a comma."""
    shared_size = 0
    if shared.global_data or shared.extra:
        # Merged content is no longer than both sides together. So the shared side is encoded once, and each
        # personalization without the shared side.
        nobody = Personalization(id="", to=[])
        everyone = build_personalization(replace(shared, tracked=False), nobody)
        shared_size = len(encode_body(everyone))
        shared = replace(shared, global_data={}, extra={})
    for personalization in personalizations:
        size = len(encode_body(build_personalization(shared, personalization)))
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


def build(
    shared: SharedContent, personalizations: Sequence[Personalization], attachments: Sequence[AttachedFile]
) -> dict[str, Any]:
    """Build the body of a request to these personalizations."""
    body = {
        "personalizations": [
            build_personalization(shared, personalization) for personalization in personalizations
        ],
        **shared.body,
    }
    if "reply_to_list" in body:
        # A request without personalizations is only measured: any id will do.
        message_id = personalizations[0].id if personalizations else str(uuid.UUID(int=0))
        body["reply_to_list"] = fill_marker(body["reply_to_list"], message_id)
    if attachments and "attachments" not in shared.body:  # attachments of `esp_extra` replace ours
        body["attachments"] = [
            {
                "content": b64encode(file.content).decode("ascii"),
                "filename": file.filename,
                "type": file.type,
                **(
                    {"disposition": "inline", "content_id": file.content_id}
                    if file.content_id is not None
                    else {}
                ),
            }
            for file in attachments
        ]
    return body


def build_personalization(shared: SharedContent, personalization: Personalization) -> dict[str, Any]:
    """Build an object of `personalizations`. The caller's extra overrides every field but our id."""
    if personalization.given is not None:
        fields = dict(personalization.given)
    else:
        merge_data = shared.global_data | personalization.merge_data
        # SendGrid replaces every occurrence of a legacy name, so delimiters are part of the name.
        if shared.field_format and not shared.dynamic:
            merge_data = {shared.field_format.format(name): content for name, content in merge_data.items()}
        recipient_fields: dict[str, Any] = {
            "to": personalization.to,
            "cc": personalization.cc,
            "bcc": personalization.bcc,
            "dynamic_template_data" if shared.dynamic else "substitutions": merge_data,
            "headers": personalization.headers,
            "custom_args": personalization.metadata,
        }
        # SendGrid refuses some empty objects and lists (custom_args: Mail Send Errors).
        not_empty = {name: content for name, content in recipient_fields.items() if content}
        fields = merge_deep(not_empty, shared.extra)
    if shared.tracked:
        args = fields.get("custom_args")
        # A new dict: the caller's dict may belong to several personalizations.
        fields["custom_args"] = {
            **(args if isinstance(args, dict) else {}),
            MESSAGE_ID_ARG: personalization.id,
        }
    return fields


def encode_body(body: Any) -> bytes:
    """Encode as compact JSON in UTF-8."""
    return _encoder.encode(body)
