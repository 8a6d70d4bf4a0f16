"""Signals of sending."""

from events_app.signals import ReportedSignal

__all__ = [
    "post_send",
    "pre_send",
    "send_failed",
]

#: Sent by `send()` before a message is composed. Receivers may change the message. An error in a receiver
#: stops the send; CancelSend only skips the message.
#: Arguments: message, esp_name ("SendGrid"). Sender: the backend class.
pre_send = ReportedSignal("pre_send")

#: Sent when SendGrid has accepted a mail: by the worker for each mail, with a message restored from the
#: outbox; by `send()` of the direct backend once, with the caller's message. Errors in receivers are logged.
#: Arguments: message, status (an `AnymailStatus` of the accepted recipients), esp_name. Sender: the backend
#: class.
post_send = ReportedSignal("post_send")

#: Sent by the worker for each failed mail. Errors in receivers are logged.
#: Arguments: message, status, error (SendGrid's text, or ours), esp_name. Sender: the backend class.
send_failed = ReportedSignal("send_failed")

#: Backend classes by name, filled when the app is ready. A worker takes the `sender` of a signal from here.
backends: dict[str, type] = {}
