"""What Django's mail API asks of a backend: what both of ours do before they differ in where a mail goes."""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import django
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from events_app.signals import ESP_NAME
from sending_app import account, conf
from sending_app.account import DEFAULT_ALIAS
from sending_app.compose import Composed, compose
from sending_app.compose.addresses import encoder
from sending_app.compose.rules import Rules
from sending_app.exceptions import CancelSend, ConfigurationError, MailError
from sending_app.message import RecipientStatus, SendStatus
from sending_app.signals import pre_send

#: What a mailer can be told: the OPTIONS of `MAILERS`, or arguments of `get_connection()`.
OPTIONS = (
    *("api_key", "api_url", "timeout", "generate_message_id", "merge_field_format", "send_defaults"),
    *("idna_encoder", "ignore_unsupported_features"),
)


class Mailer(BaseEmailBackend, ABC):
    """Reads each message, asks `pre_send`, and hands it on."""

    esp_name: ClassVar[str] = ESP_NAME

    #: What `fail_silently` passes over.
    failures: ClassVar[tuple[type[Exception], ...]] = (MailError,)

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **options: Any) -> None:
        named = {name: options.pop(name) for name in OPTIONS if name in options}
        own = {name: value for name, value in named.items() if value is not None}
        for name in ("username", "password"):  # Django 5.2 passes both, mostly as None
            if options.pop(name, None):
                raise ConfigurationError(f"SendGrid takes an API key, and no {name}.")
        if django.VERSION >= (6, 1):
            super().__init__(alias=alias, **options)
        else:
            super().__init__(**options)
        self.alias = alias or DEFAULT_ALIAS
        self.fail_silently = fail_silently
        self.account = account.with_options(self.alias, own)
        self.rules = _rules(own, f"The mailer {self.alias!r}")
        self.options: Mapping[str, Any] = own

    def __reduce__(self) -> tuple[Any, ...]:
        # On Django 5.2 a sent message holds its mailer, and the mailer a key, which is not to lie in caches
        # and result backends. A message that comes back without a mailer asks for one when it is sent.
        if self.options:
            raise TypeError(f"The mailer {self.alias!r} has options of its own and cannot be pickled")
        return type(None), ()

    def __deepcopy__(self, _: Any) -> Self:
        return self  # so that copies of a message are sent as it is

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send them; answer how many were. The first that cannot be sent raises, and the rest is not tried.

        With `fail_silently` it is passed over instead.
        """
        sent = 0
        with self._together():
            for message in email_messages or ():
                try:
                    sent += self._send_one(message)
                except self.failures:
                    if not self.fail_silently:
                        raise
        return sent

    def _send_one(self, message: Any) -> bool:
        message.anymail_status = SendStatus()
        try:
            pre_send.send(type(self), message=message, esp_name=ESP_NAME)
            if not message.recipients():  # asked now: a receiver may have taken the last one away
                return False
            self._dispatch(message, compose(message, self.rules))
        except CancelSend:
            return False
        except MailError as error:
            error.email_message = message
            raise
        return True

    @abstractmethod
    def _dispatch(self, message: Any, composed: Composed) -> None:
        """Hand it on, and fill in the message's status. Raises MailError."""

    def _set_status(self, message: Any, composed: Composed, accepted: Container[str] | None = None) -> None:
        """Into the message's status, its recipients, or those of them whose ids are accepted."""
        tracked = composed.mail.shared.tracked
        message.anymail_status.set_recipient_status(
            {
                address: RecipientStatus(message_id if tracked else None, "queued")
                for address, message_id in composed.recipients.items()
                if accepted is None or message_id in accepted
            }
        )

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Around the messages of one call."""
        yield


def _rules(options: Mapping[str, Any], mailer: str) -> Rules:
    own_encoder = conf.SENDGRID_IDNA_ENCODER.get(options.get("idna_encoder"), mailer)
    defaults = {**conf.SEND_DEFAULTS.get(), **conf.SENDGRID_SEND_DEFAULTS.get()}
    return Rules(
        send_defaults=conf.SEND_DEFAULTS.get(options.get("send_defaults"), mailer)
        if "send_defaults" in options
        else defaults,
        merge_field_format=conf.MERGE_FIELD_FORMAT.get(options.get("merge_field_format"), mailer),
        generate_message_id=conf.GENERATE_MESSAGE_ID.get(options.get("generate_message_id"), mailer),
        idna=encoder(own_encoder or conf.IDNA_ENCODER.get()),
        ignore_unsupported=conf.IGNORE_UNSUPPORTED.get(options.get("ignore_unsupported_features"), mailer),
    )
