"""What SendGrid takes no mail without, unless a template has it (Mail Send API)."""

from collections.abc import Iterable, Mapping
from typing import Any

from sending_app.compose.extra import Extra
from sending_app.compose.rules import Rules
from sending_app.mail import Attachment


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
