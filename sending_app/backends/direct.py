"""The backend that posts in this process, without queue and database. For scripts and error mails."""

from typing import Any

from events_app.signals import ESP_NAME
from sending_app.api import client, payload
from sending_app.backends.base import Mailer
from sending_app.compose import Composed
from sending_app.signals import post_send


class EmailBackend(Mailer):
    """`send()` returns once SendGrid has the mail, or raises exceptions.RequestsAPIError.

    A large batch takes several requests. The first failed request ends the batch. The message's status and
    `post_send` then name only recipients whose mail SendGrid has.
    """

    def _dispatch(self, message: Any, composed: Composed) -> None:
        mail, status = composed.mail, message.anymail_status
        accepted: set[str] = set()
        try:
            for personalizations in payload.split_into_requests(mail):
                body = payload.encode(payload.build(mail.shared, personalizations, mail.attachments))
                sent = client.post(self.account, body)
                if sent.error:
                    raise sent.error
                status.esp_response = sent.response
                accepted.update(personalization.id for personalization in personalizations)
        finally:
            if accepted:
                self._set_status(message, composed, accepted)
                # Errors of receivers are not raised: a caller that retried would send the mail twice.
                post_send.send_robust(type(self), message=message, status=status, esp_name=ESP_NAME)
