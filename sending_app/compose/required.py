"""What SendGrid takes no mail without, unless a template has it (Mail Send API)."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sending_app.compose.extra import Extra
from sending_app.compose.rules import Rules
from sending_app.exceptions import InvalidAddress, UnsupportedFeature
from sending_app.mail import MARKER, MAX_LOCAL_PART, Attachment, Personalization, SharedContent, fill_marker


def check(body: Mapping[str, Any], special: Extra, rules: Rules) -> None:
    """Raise UnsupportedFeature for a mail without a subject or without content."""
    if body.get("template_id"):
        return
    content = body.get("content", [])
    if not content or not all(part["value"] for part in content):
        rules.refuse("a mail without text: set body, or add an alternative, or set template_id")
    if not body.get("subject") and not _have_subjects(special):
        rules.refuse("a mail without a subject: set subject, or template_id")


def check_files(attachments: Iterable[Attachment], rules: Rules) -> None:
    """Raise UnsupportedFeature for one without content, which a template does not have either."""
    for one in attachments:
        if not one.content:
            rules.refuse(f"an empty attachment ({one.filename!r}): leave it out, or put something into it")


def _have_subjects(special: Extra) -> bool:
    each = [special.shared] if special.personalizations is None else special.personalizations
    return all(one.get("subject") for one in each)


def check_marker(shared: SharedContent, personalizations: Sequence[Personalization]) -> None:
    """Raise UnsupportedFeature for a mail without an id, or with several, that has `MARKER` in `reply_to`.

    Raises InvalidAddress where the id is too long for it.
    """
    marked = [one for one in shared.body.get("reply_to_list", []) if MARKER in one["email"]]
    if not marked:
        return
    if not shared.tracked:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, and SENDGRID_GENERATE_MESSAGE_ID is off: this mail has no id. "
            "Set it to True, or take the place out"
        )
    if len(personalizations) > 1:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, and this mail has {len(personalizations)} ids: one for each "
            "recipient of a "
            "batch (merge_data, merge_metadata, merge_headers), or for each of esp_extra's personalizations. "
            "SendGrid takes one reply_to for all of them. Send each a message of their own; or take the "
            "place out: an answer names the mail in In-Reply-To as well"
        )
    if any(_is_too_long(one["email"]) for one in fill_marker(marked, str(uuid.UUID(int=0)))):
        raise InvalidAddress(
            f"An address in reply_to is too long with an id for {MARKER}: there may be {MAX_LOCAL_PART} "
            "characters before its @, and the id has 32"
        )


def _is_too_long(address: str) -> bool:
    return len(address.rpartition("@")[0].encode()) > MAX_LOCAL_PART
