"""What the outbox tells receivers of a part: SendGrid has it, or it is given up.

In a worker there is no message of the caller's, so receivers get one made from what is kept. What they raise
is Django's to log: the mail is out, and nothing may make it go out again.
"""

import logging
from collections.abc import Iterator, Sequence

from django.dispatch import Signal

from events_app.signals import ESP_NAME
from sending_app import outbox, signals
from sending_app.api.client import Outcome
from sending_app.compose.restore import restore
from sending_app.mail import Envelope
from sending_app.message import RecipientStatus, SendGridMessage, SendStatus
from sending_app.models import Part

logger = logging.getLogger(__name__)

#: The backend that is the signals' sender here.
QUEUED = "queued"


def accepted(part: Part, outcome: Outcome | None = None) -> None:
    """`outcome` is None where it is an event that tells."""
    _tell(signals.post_send, part, "queued", response=outcome.response if outcome else None)


def failed(part: Part, error: str) -> None:
    # SendGrid's words may have addresses in them, and are not for a log.
    said = "Part %d of message %d is given up: `manage.py outbox show %d` says why"
    logger.error(said, part.pk, part.message_id, part.pk)
    _tell(signals.send_failed, part, "failed", error=error)


def _tell(signal: Signal, part: Part, status: str, response: object = None, **more: object) -> None:
    sender = signals.backends.get(QUEUED)
    if not signal.has_listeners(sender):
        return
    if part.envelopes is None or part.message.content is None:
        logger.warning("Receivers are not told of part %d: what it said is gone", part.pk)
        return
    try:
        message, told = _restored(part, status)
    except Exception:
        logger.exception("Receivers cannot be told of part %d: it cannot be read", part.pk)
        return
    told.esp_response = response
    signal.send_robust(sender, message=message, status=told, esp_name=ESP_NAME, **more)


def _restored(part: Part, status: str) -> tuple[SendGridMessage, SendStatus]:
    envelopes = outbox.envelopes_of(part)
    told = SendStatus()
    common = outbox.common_of(part.message)
    told.set_recipient_status(
        {
            address: RecipientStatus(message_id if common.tracked else None, status)
            for address, message_id in _ids(envelopes)
        }
    )
    message = restore(common, envelopes)
    message.anymail_status = told
    return message, told


def _ids(envelopes: Sequence[Envelope]) -> Iterator[tuple[str, str]]:
    """Each address with its id; that of a copy which goes out with several, the last one's."""
    for envelope in envelopes:
        for address in envelope.recipients:
            yield address["email"], envelope.id
