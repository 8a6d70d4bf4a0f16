"""Notify the receivers of `post_send` and `send_failed`.

A worker has no message of the caller's, so receivers get a message restored from the outbox. Django logs an
exception of a receiver: an error here must not send the mail again.
"""

import logging

from django.dispatch import Signal

from events_app.shared.eager import is_eager
from events_app.signals import ESP_NAME
from sending_app import outbox, signals
from sending_app.api.client import SendResult
from sending_app.compose.restore import restore
from sending_app.message import RecipientStatus, SendGridMessage, SendStatus
from sending_app.models import Mail

logger = logging.getLogger(__name__)

#: The backend that is the sender of the signals.
QUEUED = "queued"


def accepted(mail: Mail, result: SendResult | None = None) -> None:
    """Send `post_send`. `result` is None if an event proved the acceptance."""
    _notify(signals.post_send, mail, "queued", response=result.response if result else None)


def failed(mail: Mail, error: str) -> None:
    # SendGrid's error text may contain addresses, which do not belong in a log.
    text = "Mail %d of message %d failed: `manage.py outbox show %d` shows the error"
    logger.error(text, mail.pk, mail.message_id, mail.pk)
    _notify(signals.send_failed, mail, "failed", error=error)


def _notify(signal: Signal, mail: Mail, status: str, response: object = None, **arguments: object) -> None:
    sender = signals.backends.get(QUEUED)
    if not signal.has_listeners(sender):
        return
    if mail.personalizations is None or mail.message.content is None:
        logger.warning("Mail %d: receivers are not notified, as the content is deleted", mail.pk)
        return
    try:
        message, send_status = _restored(mail, status)
    except Exception:
        logger.exception("Mail %d: receivers are not notified, as the content cannot be read", mail.pk)
        return
    send_status.esp_response = response
    # A test must see the error of a receiver.
    send = signal.send if is_eager() else signal.send_robust
    send(sender, message=message, status=send_status, esp_name=ESP_NAME, **arguments)


def _restored(mail: Mail, status: str) -> tuple[SendGridMessage, SendStatus]:
    personalizations = outbox.personalizations_of(mail)
    shared = outbox.shared_content_of(mail.message)
    send_status = SendStatus()
    send_status.set_recipient_status(
        {  # a cc or bcc of several personalizations has the id of the last
            address["email"]: RecipientStatus(personalization.id if shared.tracked else None, status)
            for personalization in personalizations
            for address in personalization.recipients
        }
    )
    message = restore(shared, personalizations)
    message.anymail_status = send_status
    return message, send_status
