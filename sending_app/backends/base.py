"""Base class of both email backends."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import django
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from events_app.shared.log import failures
from events_app.signals import ESP_NAME
from sending_app import account, conf
from sending_app.compose import Composed, compose
from sending_app.compose.address_rules import is_local
from sending_app.compose.addresses import encoder
from sending_app.compose.attributes import Rules
from sending_app.compose.personalizations import address_forms
from sending_app.exceptions import (
    CancelSend,
    ConfigurationError,
    InvalidAddress,
    MailError,
    RecipientsRefused,
)
from sending_app.mail import ComposedMail
from sending_app.message import RecipientStatus, SendStatus
from sending_app.screening import Screened, addresses_of, screen
from sending_app.signals import pre_send


class Mailer(BaseEmailBackend, ABC):
    """Sends `pre_send` for each message, composes a mail, and dispatches the mail."""

    esp_name: ClassVar[str] = ESP_NAME

    #: Errors that `fail_silently` ignores.
    failures: ClassVar[tuple[type[Exception], ...]] = (MailError,)

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **options: Any) -> None:
        names = [name for name in ("account", *conf.OPTIONS) if name in options]
        #: OPTIONS of a mailer in `MAILERS`, or arguments of `get_connection()`.
        self.options: Mapping[str, Any] = account.present({name: options.pop(name) for name in names})
        for name in ("username", "password"):  # Django 5.2 passes both, mostly as None
            if options.pop(name, None):
                raise ConfigurationError(f"SendGrid takes an API key, and no {name}.")
        if django.VERSION >= (6, 1):
            super().__init__(alias=alias, **options)
        else:
            super().__init__(**options)
        overrides = account.completed(self.options)
        # A worker finds the key by this name. The name of an account also does without `MAILERS`.
        self.alias = overrides.get("account") or alias or conf.DEFAULT_ALIAS
        self.fail_silently = fail_silently
        self.account = account.with_options(self.alias, overrides)
        mailer = account.owner_of(self.alias, overrides)
        own_encoder = conf.SENDGRID_IDNA_ENCODER.get(overrides.get("idna_encoder"), mailer)
        defaults = {**conf.SEND_DEFAULTS.get(), **conf.SENDGRID_SEND_DEFAULTS.get()}
        self.rules = Rules(
            send_defaults=conf.SEND_DEFAULTS.get(overrides.get("send_defaults", defaults), mailer),
            merge_field_format=conf.MERGE_FIELD_FORMAT.get(overrides.get("merge_field_format"), mailer),
            generate_message_id=conf.GENERATE_MESSAGE_ID.get(overrides.get("generate_message_id"), mailer),
            idna=encoder(own_encoder or conf.IDNA_ENCODER.get()),
            ignore_unsupported=conf.IGNORE_UNSUPPORTED.get(
                overrides.get("ignore_unsupported_features"), mailer
            ),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # On Django 5.2 a sent message holds its mailer, and the mailer holds a key that must not get into
        # caches and result backends. An unpickled message without a mailer finds a mailer when sent.
        if self.options.keys() == {"account"}:
            return partial(type(self), account=self.alias), ()
        if self.options:
            raise TypeError(f"The mailer {self.alias!r} has options of its own and cannot be pickled")
        return type(None), ()

    def __deepcopy__(self, _: Any) -> Self:
        return self  # copies of a message share the mailer

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send the messages and return how many were sent.

        The first failure raises, and the later messages are not tried. `fail_silently` skips failures.
        """
        sent = 0
        for message in email_messages or ():
            message.anymail_status = SendStatus()  # type: ignore[attr-defined]
            try:
                self._call_receivers(message)
                if _has_recipients(message):  # checked now: a receiver may have removed the last recipient
                    self._send(message, compose(message, self.rules))
                    sent += 1
            except CancelSend:
                continue
            except self.failures as error:
                if isinstance(error, MailError):
                    error.email_message = message
                if not self.fail_silently:
                    raise
        return sent

    def _call_receivers(self, message: EmailMessage) -> None:
        try:
            pre_send.send(type(self), message=message, esp_name=ESP_NAME)
        except CancelSend:
            raise
        except Exception as error:
            # The innermost frame, because Django does not tell which receiver it was.
            text = "A receiver of pre_send failed, and the mail is not sent"
            failures.report(text, error=error, packages=())
            raise

    def _send(self, message: Any, composed: Composed) -> None:
        reasons = self._suppressed(composed.mail) if conf.SUPPRESSION.get() else {}
        screened = screen(composed.mail.personalizations, reasons)
        self._dispatch(message, composed, reasons, screened)
        if not screened.kept and not conf.IGNORE_RECIPIENT_STATUS.get():
            raise RecipientsRefused(
                "Every recipient is suppressed, and nothing was sent. The message's anymail_status has the "
                "recipients; with IGNORE_RECIPIENT_STATUS this is no error"
            )

    def _suppressed(self, mail: ComposedMail) -> dict[str, str]:
        """The reject reasons of the suppressed recipients, by `screening.row_address`."""
        # Here: without SUPPRESSION a script needs no models.
        from sending_app import outbox  # noqa: PLC0415
        from sending_app.suppression.lookup import find_suppressed  # noqa: PLC0415

        return find_suppressed(mail.shared, addresses_of(mail.personalizations), outbox.using())

    @abstractmethod
    def _dispatch(
        self, message: Any, composed: Composed, suppressed: Mapping[str, str], screened: Screened
    ) -> None:
        """Store or post the mail to the recipients who are left, and set the message's status.

        `screened` has the recipients of `composed` without those in `suppressed`. Raises MailError.
        """

    def _set_status(
        self,
        message: Any,
        composed: Composed,
        screened: Screened,
        statuses: Mapping[str, str] | None = None,
    ) -> None:
        """Set the status of the recipients to "queued", or by the ids of their copies to one of `statuses`.

        A recipient with an accepted copy is "queued", with the id of the last accepted copy. Without an
        accepted copy, a recipient has no status until each copy has a status. A recipient who is left out of
        every copy is "rejected".
        """
        tracked = composed.mail.shared.tracked
        left_out = {(left.personalization.id, left.address) for left in screened.left_out}
        recipients = {}
        for address, all_ids in composed.copies.items():
            ids = all_ids
            if left_out:
                forms = [*address_forms(address, self.rules.idna)]
                ids = [copy for copy in all_ids if not any((copy, form) in left_out for form in forms)]
            if not ids:
                recipients[address] = RecipientStatus(all_ids[-1] if tracked else None, "rejected")
                continue
            message_id, status = ids[-1], "queued"
            if statuses is not None:
                accepted = (copy for copy in reversed(ids) if statuses.get(copy) == "queued")
                message_id = next(accepted, message_id)
                if statuses.get(message_id) != "queued" and not statuses.keys() >= set(ids):
                    continue
                status = statuses[message_id]
            recipients[address] = RecipientStatus(message_id if tracked else None, status)
        message.anymail_status.set_recipient_status(recipients)


def refuse_local_sender(composed: Composed) -> None:
    """Raise InvalidAddress for a sender such as Django's default, webmaster@localhost.

    Only where the mail would go to SendGrid: a project's tests often have the default.
    """
    sender = composed.mail.shared.body["from"]["email"]
    if is_local(sender):
        raise InvalidAddress(
            f"SendGrid sends no mail from {sender}. Set DEFAULT_FROM_EMAIL (for error mails, SERVER_EMAIL), "
            "or the message's from_email, to a sender that you have verified at SendGrid"
        )


def _has_recipients(message: EmailMessage) -> bool:
    try:
        return bool(message.recipients())
    except TypeError:  # a field is no list: `compose` names the field
        return True
