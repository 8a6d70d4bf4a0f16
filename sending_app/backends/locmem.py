"""The backend for tests: gathers messages in `django.core.mail.outbox`. Uses no network.

Uses the database only with SUPPRESSION.
"""

from collections.abc import Mapping
from typing import Any

from django.core import mail

from sending_app.account import NO_KEY
from sending_app.backends import in_memory
from sending_app.backends.base import Mailer
from sending_app.compose import Composed
from sending_app.screening import Screened


class EmailBackend(Mailer):
    """Composes each message as the other backends, raises their errors, and accepts the mail for SendGrid.

    A message in `mail.outbox` has `anymail_status` with ids, `sendgrid_requests` and `anymail_test_params`.
    """

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **options: Any) -> None:
        super().__init__(fail_silently, alias=alias, **{**options, "api_key": NO_KEY})
        self.options = {name: option for name, option in self.options.items() if name != "api_key"}
        if not hasattr(mail, "outbox"):
            mail.outbox = []  # as Django's locmem

    def _dispatch(
        self, message: Any, composed: Composed, suppressed: Mapping[str, str], screened: Screened
    ) -> None:
        in_memory.accept(self, message, composed, screened)
