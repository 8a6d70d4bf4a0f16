"""The backend that stores mails in the outbox, in the caller's transaction. Workers send the mails."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from django.core.mail import EmailMessage
from django.db import DatabaseError, transaction
from django.db.transaction import TransactionManagementError

from events_app.shared import tracing
from events_app.shared.eager import is_eager
from sending_app import account, conf, outbox, tasks
from sending_app.backends import in_memory
from sending_app.backends.base import Mailer, refuse_local_sender
from sending_app.compose import Composed
from sending_app.exceptions import ConfigurationError
from sending_app.mail import ComposedMail, span_attributes
from sending_app.models import Mail
from sending_app.outcome.rejections import record_left_out
from sending_app.screening import Screened, addresses_of
from sending_app.suppression.lookup import any_suppression

#: Options that a worker reads from the settings.
OF_THE_ACCOUNT = {"api_key": "SENDGRID_API_KEY", "api_url": "SENDGRID_API_URL", "timeout": "REQUESTS_TIMEOUT"}


class EmailBackend(Mailer):
    """`send()` returns once the mail is in the outbox. It is sent if and only if the transaction commits.

    In a test run no worker is woken, and the mail is also in `django.core.mail.outbox`.
    """

    failures = (*Mailer.failures, DatabaseError)

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **options: Any) -> None:
        super().__init__(fail_silently, alias=alias, **options)
        self._lanes: set[Mail.Lane] = set()
        if len(self.alias) > conf.MAX_NAME:
            raise ConfigurationError(
                f"The mailer {self.alias!r} needs a name of up to {conf.MAX_NAME} characters."
            )
        # A worker must find the account's options under the name.
        in_code = self.options.keys() & OF_THE_ACCOUNT.keys()
        try:
            in_settings = account.named(self.alias)
        except ConfigurationError:
            if not in_code:
                raise
            in_settings = None
        for option in sorted(in_code):
            if getattr(self.account, option) != getattr(in_settings, option, None):
                raise ConfigurationError(
                    f"The queued backend takes no {option} in code: a worker sends the mail, and rows keep "
                    f"no keys. Set ANYMAIL[{OF_THE_ACCOUNT[option]!r}], or {option!r} of an account in "
                    f"{conf.ACCOUNTS.places()[0]}, or in the OPTIONS of a mailer in MAILERS; or use "
                    "sending_app.backends.direct.EmailBackend."
                )

    def _suppressed(self, mail: ComposedMail) -> dict[str, str]:
        # A failure that `fail_silently` ignores must leave the caller's transaction usable. Any other is the
        # caller's, as is its savepoint.
        with transaction.atomic(using=outbox.using()) if self.fail_silently else nullcontext():
            return super()._suppressed(mail)

    def _send(self, message: Any, composed: Composed) -> None:
        if not is_eager():
            refuse_local_sender(composed)
        with tracing.start("send mail", "PRODUCER", span_attributes(composed.mail.personalizations)):
            # Usually no recipient is suppressed, and one statement looks and inserts.
            if not (conf.SUPPRESSION.get() and self._is_kept_at_once(message, composed)):
                super()._send(message, composed)

    def _is_kept_at_once(self, message: Any, composed: Composed) -> bool:
        mail = composed.mail
        look_up = partial(any_suppression, mail.shared, addresses_of(mail.personalizations))
        lane = outbox.keep_unless_suppressed(mail, self.alias, conf.BULK_ABOVE.get(), look_up)
        if lane is not None:
            self._finish(message, composed, lane, Screened(mail.personalizations))
        return lane is not None

    def _dispatch(
        self, message: Any, composed: Composed, suppressed: Mapping[str, str], screened: Screened
    ) -> None:
        with transaction.atomic(using=outbox.using()) if screened.left_out else nullcontext():
            lane = outbox.keep(composed.mail, self.alias, conf.BULK_ABOVE.get(), suppressed)
            if screened.left_out:
                record_left_out(composed.mail.shared, screened.left_out)
        self._finish(message, composed, lane, screened)

    def _finish(self, message: Any, composed: Composed, lane: Mail.Lane, screened: Screened) -> None:
        self._set_status(message, composed, screened)
        if is_eager():
            in_memory.capture(self, message, composed, screened)
        else:
            self._lanes.add(lane)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        outer, self._lanes = self._lanes, set()  # a receiver of pre_send may use the same mailer
        try:
            return super().send_messages(email_messages)
        finally:
            lanes, self._lanes = self._lanes, outer
            for lane in sorted(lanes):
                # Manual commits have no on_commit; the next tick finds the mail.
                with suppress(TransactionManagementError):
                    transaction.on_commit(partial(tasks.wake_for, lane), using=outbox.using(), robust=True)
