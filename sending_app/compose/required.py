"""Checks of fields that SendGrid requires unless a template has them (Mail Send API)."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sending_app.compose.extra import Extra
from sending_app.compose.rules import Rules
from sending_app.exceptions import InvalidAddress, UnsupportedFeature
from sending_app.mail import MARKER, MAX_LOCAL_PART, Attachment, Personalization, SharedContent, fill_marker


def check(body: Mapping[str, Any], extra: Extra, rules: Rules) -> None:
    """Raise UnsupportedFeature for a mail without a subject or without content."""
    if body.get("template_id"):
        return
    content = body.get("content", [])
    if not content or not all(alternative["value"] for alternative in content):
        rules.refuse("a mail without text: set body, or add an alternative, or set template_id")
    with_subject = [extra.shared] if extra.personalizations is None else extra.personalizations
    if not body.get("subject") and not all(fields.get("subject") for fields in with_subject):
        rules.refuse("a mail without a subject: set subject, or template_id")


def check_files(attachments: Iterable[Attachment], rules: Rules) -> None:
    """Raise UnsupportedFeature for an empty file. A template does not fill files either."""
    for attachment in attachments:
        if not attachment.content:
            rules.refuse(
                f"an empty attachment ({attachment.filename!r}): leave it out, or put something into it"
            )


def check_marker(shared: SharedContent, personalizations: Sequence[Personalization]) -> None:
    """Raise for a `reply_to` with `MARKER` that no single id can fill.

    UnsupportedFeature: the mail has no id, or several. InvalidAddress: the address gets too long.
    """
    marked = [address for address in shared.body.get("reply_to_list", []) if MARKER in address["email"]]
    if not marked:
        return
    if not shared.tracked:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, but this mail has no id: SENDGRID_GENERATE_MESSAGE_ID is off. "
            "Set it to True, or remove the marker"
        )
    if len(personalizations) > 1:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, and this mail has {len(personalizations)} ids: one for each "
            "recipient of a batch (merge_data, merge_metadata, merge_headers), or for each of esp_extra's "
            "personalizations. SendGrid takes a single reply_to for all of them. Send each recipient a "
            "separate message, or remove the marker: replies name the mail in In-Reply-To as well"
        )
    for address in fill_marker(marked, str(uuid.UUID(int=0))):
        if len(address["email"].rpartition("@")[0].encode()) > MAX_LOCAL_PART:
            raise InvalidAddress(
                f"An address in reply_to is too long with an id for {MARKER}: it may have {MAX_LOCAL_PART} "
                "characters before its @, and the id has 32"
            )
