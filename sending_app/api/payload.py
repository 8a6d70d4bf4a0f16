"""Plain values -> the body of a request to SendGrid's Mail Send.

What is merged here is copied, so no two personalizations ever share what one of them changes.
"""

import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events_app.signals import MESSAGE_ID_ARG
from sending_app.mail import Attachment, Personalization, SharedContent, fill_marker

_encoder = msgspec.json.Encoder()


def encode(body: Any) -> bytes:
    """`body` as compact JSON in UTF-8."""
    return _encoder.encode(body)


def build(
    shared: SharedContent, personalizations: Sequence[Personalization], attachments: Sequence[Attachment]
) -> dict[str, Any]:
    """The body of the request that sends this mail to these."""
    body = {
        "personalizations": [build_personalization(shared, one) for one in personalizations],
        **shared.body,
    }
    if "reply_to_list" in body:
        # One to nobody is only measured: any id will do.
        message_id = personalizations[0].id if personalizations else str(uuid.UUID(int=0))
        body["reply_to_list"] = fill_marker(body["reply_to_list"], message_id)
    if has_attachments(shared, attachments):
        body["attachments"] = [_attachment(one) for one in attachments]
    return body


def has_attachments(shared: SharedContent, attachments: Sequence[Attachment]) -> bool:
    """Whether these go along: `esp_extra` may have put others in their place."""
    return bool(attachments) and "attachments" not in shared.body


def build_personalization(shared: SharedContent, personalization: Personalization) -> dict[str, Any]:
    """One object of `personalizations`: in each of its dicts the caller's extra wins, and our id over all."""
    found = _own(shared, personalization) if personalization.given is None else _copied(personalization.given)
    if shared.extra and personalization.given is None:
        found = _merged(found, shared.extra)
    if shared.tracked:
        args = found.get("custom_args")
        found["custom_args"] = {
            **(args if isinstance(args, dict) else {}),
            MESSAGE_ID_ARG: personalization.id,
        }
    return found


def _own(shared: SharedContent, personalization: Personalization) -> dict[str, Any]:
    merge_data, merged_as = _merge_data(shared, personalization)
    # An empty object or list can be an error to SendGrid (custom_args: Mail Send Errors): left out.
    fields: tuple[tuple[str, Any], ...] = (
        ("to", personalization.to),
        ("cc", personalization.cc),
        ("bcc", personalization.bcc),
        (merged_as, merge_data),
        ("headers", personalization.headers),
        ("custom_args", personalization.metadata),
    )
    return {name: value for name, value in fields if value}


def _merge_data(shared: SharedContent, personalization: Personalization) -> tuple[dict[str, Any], str]:
    data = shared.global_data | personalization.merge_data
    if shared.dynamic:
        return data, "dynamic_template_data"
    # SendGrid puts in the value wherever it finds the name, so delimiters are part of the name.
    if shared.field_format:
        data = {shared.field_format.format(name): value for name, value in data.items()}
    return data, "substitutions"


def _attachment(attachment: Attachment) -> dict[str, str]:
    found = {
        "content": b64encode(attachment.content).decode("ascii"),
        "filename": attachment.filename,
        "type": attachment.type,
    }
    if attachment.content_id is not None:
        found |= {"disposition": "inline", "content_id": attachment.content_id}
    return found


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, dict by dict; where both have a value that is no dict, `above` has its way."""
    found = dict(below)
    for name, value in above.items():
        under = found.get(name)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        found[name] = _merged(under, value) if both else _copied(value)  # type: ignore[arg-type]
    return found


def _copied(value: Any) -> Any:
    # copy.deepcopy takes five times as long, and it is done for each personalization.
    if isinstance(value, Mapping):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
