"""The content of a message for pages: head, forms, and files."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db.models.functions import Length

from sending_app import outbox
from sending_app.models import Attachment, OutboxMessage


@dataclass(frozen=True)
class Head:
    """The part of a message's content that a page shows without the content itself."""

    #: Retention has removed the content.
    removed: bool = False
    #: Why the content cannot be read.
    fault: str = ""
    sender: str = ""
    reply_to: list[str] = field(default_factory=list)
    template: str = ""
    tags: list[str] = field(default_factory=list)
    metadata: list[tuple[str, str]] = field(default_factory=list)
    #: The MIME types of the forms of the content, and their values.
    forms: list[tuple[str, str]] = field(default_factory=list)
    #: Merge data for all recipients.
    global_data: dict[str, Any] = field(default_factory=dict)


def head_of(message: OutboxMessage) -> Head:
    """Read the content of the message. The caller's own values (`esp_extra`) may have any form."""
    if message.content is None:
        return Head(removed=True)
    try:
        shared = outbox.shared_content_of(message)
    except (msgspec.MsgspecError, ValueError) as error:
        return Head(fault=f"The content cannot be read: {error}")
    body = shared.body
    return Head(
        sender=_address(body.get("from")),
        reply_to=[_address(each) for each in _list(body.get("reply_to_list") or body.get("reply_to"))],
        template=str(body.get("template_id") or ""),
        tags=[str(tag) for tag in _list(body.get("categories"))],
        metadata=[(str(name), str(text)) for name, text in _dict(body.get("custom_args")).items()],
        forms=[
            (str(form.get("type", "")), str(form.get("value", "")))
            for form in map(_dict, _list(body.get("content")))
        ],
        global_data=shared.global_data,
    )


def attachments_of(message_id: int, most: int) -> list[tuple[Attachment, int]]:
    """The first files of the message, without content, and the sizes in bytes."""
    files: Any = Attachment.objects.filter(message=message_id).order_by("pk").defer("content")
    return [(file, file.size) for file in files.annotate(size=Length("content"))[:most]]


def _address(address: object) -> str:
    return str(address.get("email", "")) if isinstance(address, dict) else str(address or "")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
