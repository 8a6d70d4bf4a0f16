"""Sent messages in `django.core.mail.outbox`, as with Django's locmem backend, and their requests."""

import copy
import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.headerregistry import Address as ParsedAddress
from typing import Any

from django.core import mail

from events_app.shared import own_events
from events_app.shared.addresses import unquoted
from events_app.signals import ESP_NAME
from sending_app.api import payload, simulated
from sending_app.backends.base import Mailer
from sending_app.compose import Composed
from sending_app.mail import Address, AttachedFile
from sending_app.screening import Screened
from sending_app.signals import post_send
from sending_app.suppression.told import raw_events

#: Attributes of a message that `anymail_test_params` has under the same name, and as written.
SAME_NAME = (
    *("envelope_sender", "extra_headers", "metadata", "tags", "track_clicks", "track_opens"),
    *("merge_data", "merge_global_data", "merge_metadata", "bulk"),
)


@dataclass(frozen=True, kw_only=True)
class GatheredFile:
    """A file of a gathered message, with the names of Anymail's test backend."""

    name: str
    content: bytes
    mimetype: str
    #: Without angle brackets. None: not shown inline.
    content_id: str | None


def accept(mailer: Mailer, message: Any, composed: Composed, screened: Screened) -> None:
    """Do what a backend does when SendGrid accepts the mail, without a post. Raises exceptions.TooLarge.

    Errors of `post_send` receivers are raised: a test must see them.
    """
    if screened.left_out:
        own_events.keep(raw_events(composed.mail.shared, screened.left_out, int(time.time())))
    mailer._set_status(message, composed, screened)
    capture(mailer, message, composed, screened)
    if not screened.kept:
        return
    message.anymail_status.esp_response = simulated.response()
    post_send.send(type(mailer), message=message, status=message.anymail_status, esp_name=ESP_NAME)


def capture(mailer: Mailer, message: Any, composed: Composed, screened: Screened) -> None:
    """Append a copy of the message to `mail.outbox`, if a recipient is left. Raises exceptions.TooLarge.

    Sets `sendgrid_requests`, the decoded bodies of the requests to SendGrid, and `anymail_test_params`, the
    attributes after the send defaults, on the message and the copy.
    """
    composed = replace(composed, mail=replace(composed.mail, personalizations=screened.kept))
    parts = composed.mail
    message.sendgrid_requests = [
        json.loads(payload.encode_body(payload.build(parts.shared, request, parts.attachments)))
        for request in payload.split_into_requests(parts)
    ]
    message.anymail_test_params = _params(composed)
    if not screened.kept:
        return
    gathered = copy.deepcopy(message)
    gathered.sent_using = mailer.alias  # as Django 6.1
    mail.outbox.append(gathered)


def _params(composed: Composed) -> dict[str, Any]:
    """The set attributes, under the names of Anymail's test backend (anymail.backends.test).

    Addresses are `email.headerregistry.Address`es.
    """
    attributes, parts, body = composed.attributes, composed.mail, composed.mail.shared.body
    params: dict[str, Any] = {
        **attributes.get("esp_extra", {}),
        "from": _parsed(body["from"]),
        "subject": body.get("subject", ""),
        "reply_to": [_parsed(address) for address in body.get("reply_to_list", [])],
        "is_batch_send": parts.is_batch,
    }
    for field in ("to", "cc", "bcc"):
        each = [address for part in parts.personalizations for address in getattr(part, field)]
        # Each personalization of a batch repeats cc and bcc.
        params[field] = list({address["email"]: _parsed(address) for address in each}.values())
    params |= {name: attributes[name] for name in SAME_NAME if name in attributes}
    if "template_id" in body:
        params["template_id"] = body["template_id"]
    if "merge_headers" in attributes:
        params["merge_header_data"] = attributes["merge_headers"]
    for content in body.get("content", []):
        name = {"text/plain": "text_body", "text/html": "html_body"}.get(content["type"])
        if name and name not in params:
            params[name] = content["value"]
        else:
            params.setdefault("alternatives", []).append((content["value"], content["type"]))
    if parts.attachments:
        params["attachments"] = [_file(file) for file in parts.attachments]
    if "send_at" in attributes:
        written = attributes["send_at"]
        params["send_at"] = (
            written if isinstance(written, int | float) else datetime.fromtimestamp(body["send_at"], UTC)
        )
    return params


def _parsed(address: Address) -> ParsedAddress:
    local, _, domain = address["email"].rpartition("@")
    return ParsedAddress(address.get("name", ""), unquoted(local), domain)


def _file(file: AttachedFile) -> GatheredFile:
    return GatheredFile(
        name=file.filename, content=file.content, mimetype=file.type, content_id=file.content_id
    )
