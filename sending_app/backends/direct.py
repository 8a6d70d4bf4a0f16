"""The backend that posts at once, in this process: no queue and no database. For scripts and error mails."""

from typing import Any

from events_app.signals import ESP_NAME
from sending_app.api import client, payload, split
from sending_app.backends.base import Mailer
from sending_app.compose import Composed
from sending_app.signals import post_send


class EmailBackend(Mailer):
    """`send()` returns once SendGrid has the mail, and raises exceptions.RequestsAPIError where it has not.

    A large batch takes several requests. The first that fails ends it; the status, and what receivers of
    `post_send` are told, then has those recipients whose mail SendGrid has.
    """

    def _dispatch(self, message: Any, composed: Composed) -> None:
        mail, status = composed.mail, message.anymail_status
        accepted: set[str] = set()
        try:
            for personalizations in split.split(mail):
                body = payload.encode(payload.build(mail.shared, personalizations, mail.attachments))
                result = client.post(self.account, body)
                if result.error:
                    raise result.error
                status.esp_response = result.response
                accepted.update(personalization.id for personalization in personalizations)
        finally:
            if accepted:
                self._set_status(message, composed, accepted)
                # Robust, and nothing is raised again: what is out is out; a caller that tried again would
                # send it twice.
                post_send.send_robust(type(self), message=message, status=status, esp_name=ESP_NAME)
