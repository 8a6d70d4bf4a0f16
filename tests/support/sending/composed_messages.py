"""Messages composed under plain rules."""

from typing import Any

from sending_app.compose import Composed, Rules, compose
from sending_app.compose.addresses import encoder
from sending_app.message import SendGridMessage

IDNA = encoder("idna2008")

#: Characters that no header may have: the ends of the ranges, and Unicode's line and paragraph separators.
CONTROL_CHARACTERS = ["\0", "\x08", "\n", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029"]


def rules(**settings: Any) -> Rules:
    return Rules(**{"idna": IDNA, **settings})


def composed(under: Rules | None = None, /, **attributes: Any) -> Composed:
    """Compose a message with these attributes; subject, body, sender and recipient have defaults."""
    message = SendGridMessage(
        **{"subject": "s", "body": "b", "from_email": "f@x.example", "to": ["t@x.example"], **attributes}
    )
    return compose(message, under or rules())


def body_of(under: Rules | None = None, /, **attributes: Any) -> dict[str, Any]:
    return composed(under, **attributes).mail.shared.body
