"""Make a message from the outbox's content, for receivers in a worker.

Composing the message again makes the same mail, without attachments and send defaults.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sending_app.compose.addresses import write
from sending_app.mail import Personalization, SharedContent
from sending_app.message import SendGridMessage

#: Attributes of a message by the names of SendGrid's fields.
_NAMES = {"custom_args": "metadata", "categories": "tags", "template_id": "template_id"}


def restore(shared: SharedContent, personalizations: Sequence[Personalization]) -> SendGridMessage:
    """Restore a message as if the caller had written the message for these personalizations alone."""
    body = dict(shared.body)
    content = list(body.pop("content", []))
    message = SendGridMessage(
        subject=body.pop("subject", ""),
        from_email=write(body.pop("from")),
        reply_to=[write(address) for address in body.pop("reply_to_list", [])],
        headers=dict(body.pop("headers", {})),
        **{
            field: list(
                dict.fromkeys(
                    write(address)
                    for personalization in personalizations
                    for address in getattr(personalization, field)
                )
            )
            for field in ("to", "cc", "bcc")
        },
        **{ours: body.pop(name) for name, ours in _NAMES.items() if name in body},
    )
    first = next((form for form in content if form["type"] in ("text/plain", "text/html")), None)
    if first is not None:
        content.remove(first)
        message.body = first["value"]
        message.content_subtype = first["type"].removeprefix("text/")
    for alternative in content:
        message.attach_alternative(alternative["value"], alternative["type"])
    _set_merge(message, shared, personalizations)
    if shared.unsubscribe_scope:
        message.unsubscribe_scope = shared.unsubscribe_scope
    if "send_at" in body:
        message.send_at = datetime.fromtimestamp(body.pop("send_at"), UTC)
    _set_extra(message, shared, personalizations, body)
    return message


def _set_merge(
    message: SendGridMessage, shared: SharedContent, personalizations: Sequence[Personalization]
) -> None:
    by_address = {
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
        fields = {address: getattr(personalization, name) for address, personalization in by_address.items()}
        if any(fields.values()) or (attribute == "merge_data" and len(by_address) > 1):
            setattr(message, attribute, fields)


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
    written = [
        personalization.given for personalization in personalizations if personalization.given is not None
    ]
    extra = {
        **body,
        "personalizations": written or shared.extra,
        "merge_field_format": shared.field_format,
    }
    if shared.dynamic != str(shared.body.get("template_id", "")).startswith("d-"):
        extra["use_dynamic_template"] = shared.dynamic
    message.esp_extra = {name: field for name, field in extra.items() if field not in (None, {})}
