"""The backend that keeps mails in the outbox, in the caller's transaction, for workers to send."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.transaction import TransactionManagementError

from sending_app import account, conf, outbox, tasks
from sending_app.backends.base import Mailer
from sending_app.compose import Composed
from sending_app.exceptions import ConfigurationError
from sending_app.models import Mail

#: What a worker looks up where the settings have it.
OF_THE_ACCOUNT = {"api_key": "SENDGRID_API_KEY", "api_url": "SENDGRID_API_URL", "timeout": "REQUESTS_TIMEOUT"}


class EmailBackend(Mailer):
    """`send()` returns once the mail is in the outbox; it leaves if and only if the transaction commits."""

    failures = (*Mailer.failures, DatabaseError)

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **options: Any) -> None:
        super().__init__(fail_silently, alias=alias, **options)
        self._check_account()
        self._lanes: set[Mail.Lane] = set()

    def _check_account(self) -> None:
        """What sends the mail must be what a worker finds under the alias."""
        given = self.options.keys() & OF_THE_ACCOUNT.keys()
        try:
            found = account.named(self.alias)
        except ConfigurationError:
            if not given:
                raise
            found = None
        for option in sorted(given):
            if getattr(self.account, option) != getattr(found, option, None):
                raise ConfigurationError(
                    f"The queued backend takes no {option} in code: a worker sends the mail, and rows keep "
                    f"no keys. Set ANYMAIL[{OF_THE_ACCOUNT[option]!r}], or {option!r} in the OPTIONS of a "
                    "mailer in MAILERS; or use sending_app.backends.direct.EmailBackend."
                )

    def _dispatch(self, message: Any, composed: Composed) -> None:
        lane = outbox.keep(composed.mail, self.alias, conf.BULK_ABOVE.get())
        self._lanes.add(lane)
        self._set_status(message, composed)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """One wake-up for all of them, once they are committed."""
        outer, self._lanes = self._lanes, set()  # a receiver of pre_send may send by the same mailer
        try:
            yield
        finally:
            lanes, self._lanes = self._lanes, outer
            for lane in sorted(lanes):
                # Who commits by hand has no such moment; the tick will find it.
                with suppress(TransactionManagementError):
                    transaction.on_commit(partial(tasks.wake_for, lane), using=outbox.using(), robust=True)
