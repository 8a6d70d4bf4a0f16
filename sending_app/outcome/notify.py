"""Notifies receivers of the outbox's signals: SendGrid has a mail, or it is given up.

In a worker there is no message of the caller's, so receivers get one made from what is kept. What they raise
is Django's to log: the mail is out, and nothing may make it go out again.
"""

import logging
from collections.abc import Iterator, Sequence

from django.dispatch import Signal

from events_app.signals import ESP_NAME
from sending_app import outbox, signals
from sending_app.api.client import SendResult
from sending_app.compose.restore import restore
from sending_app.mail import Personalization
from sending_app.message import RecipientStatus, SendGridMessage, SendStatus
from sending_app.models import Mail

logger = logging.getLogger(__name__)

#: The backend that is the signals' sender here.
QUEUED = "queued"


def accepted(mail: Mail, result: SendResult | None = None) -> None:
    """`outcome` is None where it is an event that tells."""
    _notify(signals.post_send, mail, "queued", response=result.response if result else None)


def failed(mail: Mail, error: str) -> None:
    # SendGrid's words may have addresses in them, and are not for a log.
    said = "Mail %d of message %d is given up: `manage.py outbox show %d` says why"
    logger.error(said, mail.pk, mail.message_id, mail.pk)
    _notify(signals.send_failed, mail, "failed", error=error)


def _notify(signal: Signal, mail: Mail, status: str, response: object = None, **more: object) -> None:
    sender = signals.backends.get(QUEUED)
    if not signal.has_listeners(sender):
        return
    if mail.personalizations is None or mail.message.content is None:
        logger.warning("Receivers are not told of mail %d: what it said is gone", mail.pk)
        return
    try:
        message, send_status = _restored(mail, status)
    except Exception:
        logger.exception("Receivers cannot be told of mail %d: it cannot be read", mail.pk)
        return
    send_status.esp_response = response
    signal.send_robust(sender, message=message, status=send_status, esp_name=ESP_NAME, **more)


def _restored(mail: Mail, status: str) -> tuple[SendGridMessage, SendStatus]:
    personalizations = outbox.personalizations_of(mail)
    send_status = SendStatus()
    shared = outbox.shared_content_of(mail.message)
    send_status.set_recipient_status(
        {
            address: RecipientStatus(message_id if shared.tracked else None, status)
            for address, message_id in _ids(personalizations)
        }
    )
    message = restore(shared, personalizations)
    message.anymail_status = send_status
    return message, send_status


def _ids(personalizations: Sequence[Personalization]) -> Iterator[tuple[str, str]]:
    """Each address with its id; that of a copy which goes out with several, the last one's."""
    for personalization in personalizations:
        for address in personalization.recipients:
            yield address["email"], personalization.id
