"""Build the body of a request to SendGrid's Mail Send from plain values. The values stay unchanged."""

import uuid
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import msgspec

from events_app.signals import MESSAGE_ID_ARG
from sending_app.mail import Attachment, Personalization, SharedContent, fill_marker, merge_deep

_encoder = msgspec.json.Encoder()


def encode(body: Any) -> bytes:
    """Encode as compact JSON in UTF-8."""
    return _encoder.encode(body)


def build(
    shared: SharedContent, personalizations: Sequence[Personalization], attachments: Sequence[Attachment]
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
    if has_attachments(shared, attachments):
        body["attachments"] = [_attachment(attachment) for attachment in attachments]
    return body


def has_attachments(shared: SharedContent, attachments: Sequence[Attachment]) -> bool:
    """Whether the request takes the attachments: attachments of `esp_extra` replace ours."""
    return bool(attachments) and "attachments" not in shared.body


def build_personalization(shared: SharedContent, personalization: Personalization) -> dict[str, Any]:
    """Build an object of `personalizations`. The caller's extra overrides every field but our id."""
    if personalization.given is None:
        fields = merge_deep(_fields(shared, personalization), shared.extra)
    else:
        fields = dict(personalization.given)
    if shared.tracked:
        args = fields.get("custom_args")
        # A new dict: the caller's dict may belong to several personalizations.
        fields["custom_args"] = {
            **(args if isinstance(args, dict) else {}),
            MESSAGE_ID_ARG: personalization.id,
        }
    return fields


def _fields(shared: SharedContent, personalization: Personalization) -> dict[str, Any]:
    merge_data = shared.global_data | personalization.merge_data
    # SendGrid replaces every occurrence of a legacy name, so delimiters are part of the name.
    if shared.field_format and not shared.dynamic:
        merge_data = {shared.field_format.format(name): content for name, content in merge_data.items()}
    fields: dict[str, Any] = {
        "to": personalization.to,
        "cc": personalization.cc,
        "bcc": personalization.bcc,
        "dynamic_template_data" if shared.dynamic else "substitutions": merge_data,
        "headers": personalization.headers,
        "custom_args": personalization.metadata,
    }
    # SendGrid refuses some empty objects and lists (custom_args: Mail Send Errors).
    return {name: content for name, content in fields.items() if content}


def _attachment(attachment: Attachment) -> dict[str, str]:
    fields = {
        "content": b64encode(attachment.content).decode("ascii"),
        "filename": attachment.filename,
        "type": attachment.type,
    }
    if attachment.content_id is not None:
        fields |= {"disposition": "inline", "content_id": attachment.content_id}
    return fields
