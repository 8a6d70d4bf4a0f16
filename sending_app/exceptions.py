"""Every error that a caller may catch. Anymail's names are aliases."""

from copy import copy
from enum import StrEnum
from typing import Any

import requests
from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "APIError",
    "AnymailAPIError",
    "AnymailCancelSend",
    "AnymailConfigurationError",
    "AnymailError",
    "AnymailInvalidAddress",
    "AnymailRecipientsRefused",
    "AnymailRequestsAPIError",
    "AnymailSerializationError",
    "AnymailUnsupportedFeature",
    "AnymailWarning",
    "CancelSend",
    "ConfigurationError",
    "ConnectTimedOut",
    "ConnectionFailed",
    "InvalidAddress",
    "MailError",
    "MissingDelimiters",
    "Outcome",
    "ProxyFailed",
    "ReadTimedOut",
    "RecipientsRefused",
    "RequestsAPIError",
    "SerializationError",
    "TLSFailed",
    "TooLarge",
    "UnsupportedFeature",
]


class MailError(Exception):
    """Base class of errors about sending.

    `email_message` is the message. `status_code` and `response` (a `requests.Response`) are of SendGrid's
    answer. Each is None if unknown.
    """

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
        # Result backends pickle errors. The mailer stays out: a mailer has a key, and may not be picklable.
        message = copy(self.email_message)
        for name in ("connection", "_connection"):  # of Django 5.2, of Django 6.1
            if name in getattr(message, "__dict__", {}):
                message.__dict__[name] = None
        return type(self), self.args, {**vars(self), "email_message": message}


class CancelSend(MailError):
    """Raise in a `pre_send` receiver to skip the message. `send()` does not fail."""


AnymailError = MailError
AnymailCancelSend = CancelSend


class ConfigurationError(ImproperlyConfigured):
    """A setting that sending needs is missing."""


AnymailConfigurationError = ConfigurationError


class InvalidAddress(MailError, ValueError):
    """An address field holds text that is not an address."""


AnymailInvalidAddress = InvalidAddress


class SerializationError(MailError, TypeError):
    """JSON or SendGrid does not take a value; the error text names the place."""


AnymailSerializationError = SerializationError


class UnsupportedFeature(MailError, ValueError):
    """The message needs a feature that SendGrid does not have, or refuses."""


AnymailUnsupportedFeature = UnsupportedFeature


class RecipientsRefused(MailError):
    """No recipient is left: each is suppressed. `send()` has sent nothing.

    Not raised with IGNORE_RECIPIENT_STATUS. The message's status has each recipient as "rejected".
    """


AnymailRecipientsRefused = RecipientsRefused


class TooLarge(MailError, ValueError):
    """The mail is too large for a request to SendGrid, and cannot be split."""


class MissingDelimiters(UserWarning):
    """SendGrid would replace the bare names of merge fields anywhere in the text."""


AnymailWarning = MissingDelimiters


class Outcome(StrEnum):
    """The outcome of an attempt to post a mail to SendGrid."""

    #: SendGrid has it.
    ACCEPTED = "accepted"
    #: SendGrid does not have it, but may accept a retry.
    RETRY = "retry"
    #: SendGrid does not have it, and accepts no mail of this account for now.
    PAUSED = "paused"
    #: SendGrid does not have it, and would refuse a retry.
    FAILED = "failed"
    #: SendGrid may have it or not.
    UNKNOWN = "unknown"
    #: SendGrid did not get it: every recipient is suppressed.
    REJECTED = "rejected"


class APIError(MailError):
    """SendGrid did not confirm a mail. `outcome` is an `Outcome`, or None if unknown."""

    def __init__(self, *args: object, outcome: Outcome | None = None, **known: Any) -> None:
        super().__init__(*args, **known)
        self.outcome = outcome


AnymailAPIError = APIError


# Static classes, because result backends pickle errors.
class RequestsAPIError(APIError, requests.HTTPError):
    """An APIError of a request. `status_code` and `response` are None without an answer."""


AnymailRequestsAPIError = RequestsAPIError


class ConnectionFailed(RequestsAPIError, requests.ConnectionError):
    """The connection could not be made (`Outcome.RETRY`), or broke during the request (`Outcome.UNKNOWN`)."""


class ProxyFailed(RequestsAPIError, requests.exceptions.ProxyError):
    """The HTTP proxy on the way to SendGrid failed."""


class TLSFailed(RequestsAPIError, requests.exceptions.SSLError):
    """The TLS connection failed, such as for a certificate that is not valid."""


class ConnectTimedOut(RequestsAPIError, requests.ConnectTimeout):
    """No connection within the first timeout of REQUESTS_TIMEOUT. SendGrid does not have the mail."""


class ReadTimedOut(RequestsAPIError, requests.ReadTimeout):
    """No answer within the second timeout of REQUESTS_TIMEOUT. SendGrid may have the mail."""
