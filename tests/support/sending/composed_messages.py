"""Messages composed under plain rules."""

from typing import Any

from sending_app.compose import Composed, Rules, compose
from sending_app.compose.addresses import encoder
from sending_app.message import SendGridMessage

IDNA = encoder("idna2008")


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
