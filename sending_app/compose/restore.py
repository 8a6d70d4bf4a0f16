"""A message made from what the outbox keeps: what receivers get in a worker, where nobody has the first one.

It is composed to the same mail again, but for attachments, and for what the send defaults add.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sending_app.compose.addresses import write
from sending_app.mail import Address, Personalization, SharedContent
from sending_app.message import SendGridMessage

#: Our names of what both have.
_NAMES = {"custom_args": "metadata", "categories": "tags", "template_id": "template_id"}


def restore(shared: SharedContent, personalizations: Sequence[Personalization]) -> SendGridMessage:
    """The message these personalizations are part of, as if it had been written for them alone."""
    body = dict(shared.body)
    content = list(body.pop("content", []))
    message = SendGridMessage(
        subject=body.pop("subject", ""),
        from_email=write(body.pop("from")),
        reply_to=_written(body.pop("reply_to_list", [])),
        headers=dict(body.pop("headers", {})),
        **_recipients(personalizations),
        **{ours: body.pop(name) for name, ours in _NAMES.items() if name in body},
    )
    _set_content(message, content)
    _set_merge(message, shared, personalizations)
    if "send_at" in body:
        message.send_at = datetime.fromtimestamp(body.pop("send_at"), UTC)
    _set_extra(message, shared, personalizations, body)
    return message


def _recipients(personalizations: Iterable[Personalization]) -> dict[str, list[str]]:
    return {
        kind: list(
            dict.fromkeys(
                write(one) for personalization in personalizations for one in getattr(personalization, kind)
            )
        )
        for kind in ("to", "cc", "bcc")
    }


def _written(addresses: Iterable[Address]) -> list[str]:
    return [write(one) for one in addresses]


def _set_content(message: SendGridMessage, content: list[dict[str, str]]) -> None:
    if content and content[0]["type"] in ("text/plain", "text/html"):
        first = content.pop(0)
        message.body = first["value"]
        message.content_subtype = first["type"].removeprefix("text/")
    for part in content:
        message.attach_alternative(part["value"], part["type"])


def _set_merge(
    message: SendGridMessage, shared: SharedContent, personalizations: Sequence[Personalization]
) -> None:
    own = {
        personalization.to[0]["email"]: personalization
        for personalization in personalizations
        if personalization.given is None
    }
    if shared.global_data:
        message.merge_global_data = shared.global_data
    for attribute, name in (
        ("merge_data", "merge_data"),
        ("merge_metadata", "metadata"),
        ("merge_headers", "headers"),
    ):
        found = {address: getattr(personalization, name) for address, personalization in own.items()}
        if any(found.values()) or (attribute == "merge_data" and len(own) > 1):
            setattr(message, attribute, found)


def _set_extra(
    message: SendGridMessage,
    shared: SharedContent,
    personalizations: Iterable[Personalization],
    body: dict[str, Any],
) -> None:
    for setting, name in (("click_tracking", "track_clicks"), ("open_tracking", "track_opens")):
        enabled = body.get("tracking_settings", {}).get(setting, {}).get("enable")
        if enabled is not None:
            setattr(message, name, enabled)
    given = [
        personalization.given for personalization in personalizations if personalization.given is not None
    ]
    extra = {
        **body,
        "personalizations": given or shared.extra,
        "merge_field_format": shared.field_format,
    }
    if shared.dynamic != str(shared.body.get("template_id", "")).startswith("d-"):
        extra["use_dynamic_template"] = shared.dynamic
    message.esp_extra = {name: value for name, value in extra.items() if value not in (None, {})}
