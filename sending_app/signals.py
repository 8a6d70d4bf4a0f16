"""The signals of sending."""

from django.dispatch import Signal

#: Sent by `send()`, before a message is read; what receivers change of it goes out changed. What they
#: raise stops the send, but for CancelSend, which skips the one message.
#: Arguments: message, esp_name ("SendGrid"). Sender: the backend class.
pre_send = Signal()

#: Sent for each mail once SendGrid has it: by the worker, with a message made from what the outbox keeps;
#: by `send()`, once, with the message itself where the direct backend is used. What receivers raise is
#: logged. Arguments: message, status (an `AnymailStatus` of what SendGrid has), esp_name. Sender: the
#: backend class.
post_send = Signal()

#: Sent by the worker for each mail that is given up, under the same rules as `post_send`.
#: Arguments: message, status, error (SendGrid's own words, or ours), esp_name. Sender: the backend class.
send_failed = Signal()

#: The backend classes by name, filled when the app is ready: a worker looks up the `sender` to call with.
backends: dict[str, type] = {}
