"""Notify the receivers of `post_send` and `send_failed`.

A worker has no message of the caller's, so receivers get a message restored from the outbox. An exception of
a receiver is logged: an error here must not send the mail again.
"""

import time
from contextlib import suppress
from itertools import islice

from events_app.shared.counting import count, observe
from events_app.shared.eager import is_eager
from events_app.shared.log import failures
from events_app.shared.log.floods import limited_logger
from events_app.signals import ESP_NAME, ReportedSignal
from sending_app import counters, outbox, signals
from sending_app.api.client import SendResult
from sending_app.compose.restore import restore
from sending_app.message import RecipientStatus, SendGridMessage, SendStatus
from sending_app.models import Mail

logger = limited_logger(__name__)

#: The backend that is the sender of the signals.
QUEUED = "queued"

#: Message ids in a log line, at most. A batch has a message id for each recipient.
_MOST_IDS = 20


def accepted(mail: Mail, result: SendResult | None = None) -> None:
    """Count the mail, and send `post_send`. `result` is None if an event proved the acceptance."""
    count(counters.MAIL_OUTCOMES, mail.lane, "accepted")
    observe(counters.MAIL_SECONDS, [time.time() - mail.created_at.timestamp()], mail.lane)
    _notify(signals.post_send, mail, "queued", response=result.response if result else None)


def failed(mail: Mail, error: str) -> None:
    """Count the mail, log an error, and send `send_failed`."""
    count(counters.MAIL_OUTCOMES, mail.lane, "failed")
    # SendGrid's error text may contain addresses, which do not belong in a log.
    text = "Mail %d of message %d failed: `manage.py outbox show %d` shows the error"
    logger.error(text, mail.pk, mail.message_id, mail.pk, extra=_fields(mail))
    _notify(signals.send_failed, mail, "failed", error=error)


def _notify(
    signal: ReportedSignal, mail: Mail, status: str, response: object = None, **arguments: object
) -> None:
    sender = signals.backends.get(QUEUED)
    if not signal.has_listeners(sender):
        return
    if mail.personalizations is None or mail.message.content is None:
        logger.warning("Mail %d: receivers are not notified, as the content is deleted", mail.pk)
        return
    try:
        message, send_status = _restored(mail, status)
    except Exception as error:  # noqa: BLE001 (the mail has been sent, or has failed)
        text = "Mail %d: receivers are not notified, as the content cannot be read"
        failures.report(text, mail.pk, error=error, fields=_fields(mail))
        return
    send_status.esp_response = response
    # A test must see the error of a receiver.
    arguments |= {"message": message, "status": send_status, "esp_name": ESP_NAME}
    if is_eager():
        signal.send(sender, **arguments)
    else:
        ids = [recipient.message_id for recipient in islice(send_status.recipients.values(), _MOST_IDS)]
        signal.send_robust(sender, fields={"mail": mail.pk, "message_ids": ids}, **arguments)


def _fields(mail: Mail) -> dict[str, object]:
    """The fields of a log line about the mail."""
    ids: list[str] = []
    if mail.personalizations is not None:
        with suppress(Exception):  # malformed content is reported elsewhere
            ids = [personalization.id for personalization in outbox.personalizations_of(mail)]
    return {"mail": mail.pk, "message_ids": ids[:_MOST_IDS]}


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
