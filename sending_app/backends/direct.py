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
            for envelopes in split.split(mail):
                body = payload.encode(payload.build(mail.common, envelopes, mail.attachments))
                outcome = client.post(self.account, body)
                if outcome.error:
                    raise outcome.error
                status.esp_response = outcome.response
                accepted.update(envelope.id for envelope in envelopes)
        finally:
            if accepted:
                self._note(message, composed, accepted)
                # Robust, and nothing is raised again: what is out is out; a caller that tried again would
                # send it twice.
                post_send.send_robust(type(self), message=message, status=status, esp_name=ESP_NAME)
