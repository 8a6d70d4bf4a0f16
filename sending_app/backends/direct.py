"""The backend that posts in this process, without queue and database. For scripts and error mails."""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, InterfaceError, transaction

from events_app.shared import own_events, tracing
from events_app.shared.eager import is_eager
from events_app.signals import ESP_NAME
from sending_app.api import client, division, payload
from sending_app.backends import in_memory
from sending_app.backends.base import Mailer, refuse_local_sender
from sending_app.compose import Composed
from sending_app.exceptions import RequestsAPIError
from sending_app.mail import ComposedMail, Personalization, span_attributes
from sending_app.screening import Screened
from sending_app.signals import post_send
from sending_app.suppression.told import raw_events

logger = logging.getLogger(__name__)


class EmailBackend(Mailer):
    """`send()` returns once SendGrid has the mail, or raises exceptions.RequestsAPIError.

    If SendGrid refuses some recipients of a batch, the others are posted again, in up to 20 further requests
    for each request, or 60 once SendGrid has accepted a part or named a refused recipient. The message's
    status and `post_send` name the recipients that SendGrid has ("queued"), and the refused recipients
    ("invalid"; "failed" when no request was left to find the refused among them). `send()` raises a refusal
    only if SendGrid has no recipient.

    A large batch takes several requests. A failure other than a refused recipient ends the batch and is
    raised. The message's status and `post_send` then name only recipients posted before.

    In a test run nothing is posted: the backend does the same as `locmem`.
    """

    def _suppressed(self, mail: ComposedMail) -> dict[str, str]:
        # A mail about a database that is away must leave. The savepoint keeps the caller's transaction.
        try:
            with _savepoint():
                return super()._suppressed(mail)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Suppressed recipients are not left out of a mail: %s", type(error).__name__)
            return {}

    def _dispatch(
        self, message: Any, composed: Composed, suppressed: Mapping[str, str], screened: Screened
    ) -> None:
        if is_eager():
            in_memory.accept(self, message, composed, screened)
            return
        refuse_local_sender(composed)
        if screened.left_out:
            _keep_events(composed, screened)
        if not screened.kept:
            self._set_status(message, composed, screened)
            return
        with tracing.start("send mail", "PRODUCER", span_attributes(screened.kept)):
            self._post_all(message, composed, screened)

    def _post_all(self, message: Any, composed: Composed, screened: Screened) -> None:
        mail, status = replace(composed.mail, personalizations=screened.kept), message.anymail_status
        statuses: dict[str, str] = {}
        refusal: RequestsAPIError | None = None
        try:
            for request in payload.split_into_requests(mail):
                refusal = self._post(request, message, composed, statuses) or refusal
        finally:
            is_any_accepted = "queued" in statuses.values()
            if is_any_accepted:
                self._set_status(message, composed, screened, statuses)
                # Errors of receivers are not raised: a caller that retried would send the mail twice.
                post_send.send_robust(type(self), message=message, status=status, esp_name=ESP_NAME)
        if refusal and not is_any_accepted:
            raise refusal
        if refusal:
            refused = len(statuses) - [*statuses.values()].count("queued")
            logger.warning("SendGrid refused %d of the %d mails of a batch", refused, len(statuses))

    def _post(
        self,
        request: Sequence[Personalization],
        message: Any,
        composed: Composed,
        statuses: dict[str, str],
    ) -> RequestsAPIError | None:
        """Post the request, and after a refusal its parts. Record the status of each personalization.

        Return the last refusal. Raises the error of any other failure.
        """
        mail = composed.mail
        pending = deque([request])
        further, has_progressed = 0, False
        refusal: RequestsAPIError | None = None
        while pending:
            part = pending.popleft()
            sent = client.post(
                self.account, payload.encode_body(payload.build(mail.shared, part, mail.attachments))
            )
            if not sent.error:
                has_progressed = True
                message.anymail_status.esp_response = sent.response
                statuses.update((personalization.id, "queued") for personalization in part)
                continue
            if sent.refused is None:
                raise sent.error
            refusal = sent.error
            refused, remaining = division.divide(part, sent.refused)
            has_progressed = has_progressed or bool(refused and remaining)
            statuses.update((personalization.id, "invalid") for personalization in refused)
            # If an earlier search has found no recipient that SendGrid accepts or refuses, the content that
            # all requests share may be the fault: no other search follows.
            is_in_vain = not has_progressed and {*statuses.values()} == {"failed"}
            if not is_in_vain and further + len(remaining) <= division.max_requests(has_progressed):
                further += len(remaining)
                pending.extend(remaining)
            else:
                unposted = [personalization for rest in remaining for personalization in rest]
                statuses.update((personalization.id, "failed") for personalization in unposted)
        return refusal


def _keep_events(composed: Composed, screened: Screened) -> None:
    events = raw_events(composed.mail.shared, screened.left_out, int(time.time()))
    try:
        with _savepoint():
            own_events.keep(events)
    except (DatabaseError, InterfaceError) as error:
        text = "The events about %d recipients who were left out of a mail are lost: %s"
        logger.warning(text, len(events), type(error).__name__)


def _savepoint() -> AbstractContextManager[None]:
    from sending_app.outbox import using  # noqa: PLC0415 (needs models, as SUPPRESSION does)

    return transaction.atomic(using=using())
