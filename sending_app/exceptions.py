"""Every error a caller may catch. Anymail's names stand beside ours."""

from copy import copy
from enum import StrEnum
from typing import Any

import requests
from django.core.exceptions import ImproperlyConfigured


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


AnymailError = MailError
AnymailCancelSend = CancelSend


class ConfigurationError(ImproperlyConfigured):
    """A setting that sending needs is missing."""


AnymailConfigurationError = ConfigurationError


class InvalidAddress(MailError, ValueError):
    """Something that is no address stands where one must."""


AnymailInvalidAddress = InvalidAddress


class SerializationError(MailError, TypeError):
    """A value that cannot be sent as JSON, or not where it stands; says where that is."""


AnymailSerializationError = SerializationError


class UnsupportedFeature(MailError, ValueError):
    """The message asks for something SendGrid cannot do, or refuses."""


AnymailUnsupportedFeature = UnsupportedFeature


class TooLarge(MailError, ValueError):
    """SendGrid cannot take this mail in one request, and it cannot be split."""


class MissingDelimiters(UserWarning):
    """Merge fields would be replaced wherever their bare names stand in the text."""


AnymailWarning = MissingDelimiters


class Outcome(StrEnum):
    #: SendGrid has it.
    ACCEPTED = "accepted"
    #: SendGrid does not have it, and may take it the next time.
    RETRY = "retry"
    #: SendGrid does not have it, and takes nothing from this account for now.
    PAUSED = "paused"
    #: SendGrid does not have it, and will never take it.
    FAILED = "failed"
    #: SendGrid may have it or not.
    UNKNOWN = "unknown"


class APIError(MailError):
    """SendGrid did not take a mail, or did not say that it has."""

    def __init__(self, *args: object, outcome: Outcome | None = None, **known: Any) -> None:
        super().__init__(*args, **known)
        self.outcome = outcome


AnymailAPIError = APIError


# Classes as they stand, none made for the occasion: errors travel pickled to result backends.
class RequestsAPIError(APIError, requests.HTTPError):
    """The same, by what came of the request. `status_code` and `response` are None where none came."""


AnymailRequestsAPIError = RequestsAPIError


class ConnectionFailed(RequestsAPIError, requests.ConnectionError):
    pass


class ProxyFailed(RequestsAPIError, requests.exceptions.ProxyError):
    pass


class TLSFailed(RequestsAPIError, requests.exceptions.SSLError):
    pass


class ConnectTimedOut(RequestsAPIError, requests.ConnectTimeout):
    pass


class ReadTimedOut(RequestsAPIError, requests.ReadTimeout):
    pass
