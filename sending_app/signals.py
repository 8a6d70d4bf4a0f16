"""What the world sees of sending: the signals, and the root of its errors. Anymail's names beside ours."""

from copy import copy
from typing import Any

from django.dispatch import Signal


class MailError(Exception):
    """Something about sending a mail. Attributes that are not known are None."""

    def __init__(
        self,
        *args: object,
        email_message: Any = None,
        status_code: int | None = None,
        response: Any = None,
    ) -> None:
        super().__init__(*args)
        self.email_message = email_message
        self.status_code = status_code
        self.response = response
        self.esp_name = "SendGrid"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, {**vars(self), "email_message": _without_mailer(self.email_message)}


def _without_mailer(message: Any) -> Any:
    """What goes along to result backends: a mailer has a key, and may have what no pickle takes."""
    alone = copy(message)
    for name in {"connection", "_connection"} & getattr(alone, "__dict__", {}).keys():  # Django 5.2's, 6.1's
        alone.__dict__[name] = None
    return alone


class CancelSend(MailError):
    """Raise it in a `pre_send` receiver: this message is not sent, and `send()` does not fail."""


#: Sent by `send()`, before a message is read; what receivers change of it goes out changed. What they
#: raise stops the send, but for CancelSend, which skips the one message.
#: Arguments: message, esp_name ("SendGrid"). Sender: the backend class.
pre_send = Signal()

#: Sent for each part once SendGrid has it: by the worker, with a message made from what the outbox keeps;
#: by `send()`, once, with the message itself where the direct backend is used. What receivers raise is
#: logged. Arguments: message, status (an `AnymailStatus` of what SendGrid has), esp_name. Sender: the
#: backend class.
post_send = Signal()

#: Sent by the worker for each part that is given up, under the same rules as `post_send`.
#: Arguments: message, status, error (SendGrid's own words, or ours), esp_name. Sender: the backend class.
send_failed = Signal()

#: The backend classes by name, filled when the app is ready: a worker looks up the `sender` to call with.
backends: dict[str, type] = {}

AnymailError = MailError
AnymailCancelSend = CancelSend
