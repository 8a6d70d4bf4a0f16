"""Posts to one webhook of several: signs only while signing is on, with a key pair of this webhook."""

from fake_sendgrid.webhook_sender import WebhookSender

_SIGNATURE_HEADERS = "X-Twilio-Email-Event-Webhook-"


class SwitchableSender(WebhookSender):
    """Signing is off at first. Each time it is turned on makes a new key pair, as at SendGrid."""

    def __init__(self, *, signs: bool = False) -> None:
        super().__init__()
        self.signs = signs

    def switch(self, *, on: bool) -> None:
        if on and not self.signs:
            super().__init__()
        self.signs = on

    def headers(self, body: bytes, timestamp: int | None = None, **content_type: str) -> dict[str, str]:
        headers = super().headers(body, timestamp, **content_type)
        if self.signs:
            return headers
        return {name: text for name, text in headers.items() if not name.startswith(_SIGNATURE_HEADERS)}
