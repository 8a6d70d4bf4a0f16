"""The webhook view for inbound mail: save the post, record the post, wake a worker, answer.

After a 3xx or 4xx SendGrid drops a mail for good. After a 5xx SendGrid retries for 72 hours (Twilio docs,
"Inbound Parse Webhook"). So the view answers 503 whenever a mail is not saved. Only a post without
credentials gets 403, and with OAuth no post.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest

from events_app import conf, tasks
from events_app.dispatch import eager
from events_app.inbound import storage, store
from events_app.shared import wakeup
from events_app.shared.counters import Reason
from events_app.shared.eager import is_eager
from events_app.shared.log import failures
from events_app.views import bearer, own_tokens, signature
from events_app.views.authentication import (
    accepts_nobody,
    check_authorization,
    check_signature_headers,
    signature_headers,
    usable_keys,
)
from events_app.views.base import Refusal, WebhookView, count_accepted

if TYPE_CHECKING:
    from hashlib import _Hash

logger = logging.getLogger(__name__)

#: Bytes of a body in memory at once.
CHUNK = 256 * 1024


class SendGridInboundWebhookView(WebhookView[str]):
    """Inbound Parse's webhook. A 2xx answer means: the storage has the post, and the database a row.

    The view does not read the mail; a worker does. `as_view()` takes settings for a single URL: `basic_auth`
    ("user:password", or a list) and `inbound_webhook_verification_key` (a key, or a list).
    """

    webhook = "inbound"

    inbound_webhook_verification_key: str | Sequence[str] | None = None

    def accept(self, request: HttpRequest) -> str:
        """The name of the post's file in the storage."""
        if is_eager():
            return self._accept(request)  # a test must see an error, such as of a test without a database
        try:
            return self._accept(request)
        except (Refusal, ImproperlyConfigured):
            raise
        except (DatabaseError, InterfaceError) as error:
            raise _retry_later(
                f"the database did not take the mail: {type(error).__name__}", Reason.DATABASE
            ) from None
        except OSError as error:  # of the temporary file
            raise _retry_later(
                f"the storage did not take the mail: {storage.describe_error(error)}", Reason.STORAGE
            ) from None
        except Exception as error:  # noqa: BLE001 (SendGrid must post the mail again)
            failures.report("Could not accept a mail", error=error)
            raise _retry_later("something went wrong here", Reason.FAULT) from None

    def hand_over(self, content: str) -> None:
        wakeup.wake(tasks.deliver_inbound)
        count_accepted(self.webhook)

    def call_receivers(self, content: str) -> None:
        eager.deliver_waiting(store.INBOUND_MAILS, mail__file=content)

    def _accept(self, request: HttpRequest) -> str:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.INBOUND_KEYS.get(self.inbound_webhook_verification_key)
        _check_credentials(request, self.webhook, secrets, keys)
        del secrets  # Sentry stores the local variables of a function that raises an exception
        usable = usable_keys(conf.INBOUND_KEYS, keys) if keys else []
        # Every check without the body comes before the wait for the body.
        storage.backend()
        limit = conf.INBOUND_LIMIT.get()
        length = _length(request, limit)
        timestamp, signed = signature_headers(request)
        content, signed_content = sha256(), signature.begin(timestamp)
        with TemporaryUploadedFile("post.form", None, length or 0, None) as body:
            size = _receive(request, length, limit, body, content, signed_content)
            if keys and not signature.verify_digest(
                usable, timestamp=timestamp, signature=signed, digest=signed_content.digest()
            ):
                raise _retry_later(
                    f"the signature fits no key of {conf.INBOUND_KEYS.name}", Reason.CREDENTIALS
                )
            return self._save(request, body, size, content.digest())

    def _save(self, request: HttpRequest, body: TemporaryUploadedFile, size: int, digest: bytes) -> str:
        try:
            file = storage.save_file(body)
        except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
            raise _retry_later(
                f"the storage did not take the mail: {storage.describe_error(error)}", Reason.STORAGE
            ) from None
        content_type = request.META.get("CONTENT_TYPE", "")
        try:
            with self.span("receive mail"):
                store.save_mail(self.webhook, file=file, size=size, digest=digest, content_type=content_type)
        except Exception:
            # A connection that breaks at the commit hides whether the row was committed.
            with suppress(DatabaseError, InterfaceError):
                if store.is_saved(file):
                    return file
            # SendGrid posts the mail again. If such files stayed, an outage would fill the storage.
            try:
                storage.remove_file(file)
            except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
                logger.warning(
                    "Could not remove the file of a refused mail; the sweep removes it later: %s",
                    storage.describe_error(error),
                )
            raise
        return file


def _retry_later(why: str, reason: Reason) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {why}", reason)


def _check_credentials(
    request: HttpRequest, webhook: str, secrets: Sequence[str], keys: Sequence[str]
) -> None:
    """Refuse a post by the headers."""
    if accepts_nobody(secrets, keys):
        if conf.ALLOW_INSECURE.get():
            return
        raise _retry_later(
            f"none of {conf.INBOUND_KEYS.name}, {conf.BASIC_AUTH.name} and {conf.OAUTH_CLIENTS.name} is set "
            "on this server",
            Reason.SETTINGS,
        )
    _, signed = signature_headers(request)
    # SendGrid itself always has its password and its signature. It does not document whether a mail comes
    # without a token while the token URL is down.
    may_be_sendgrid = signed or request.headers.get("Authorization") or bearer.takes_tokens()
    if not may_be_sendgrid:
        raise Refusal(HTTPStatus.FORBIDDEN, "neither basic auth nor a signature")
    max_age = conf.INBOUND_SIGNATURE_MAX_AGE.get()
    try:
        check_authorization(request, webhook, secrets, max_age and max(max_age, own_tokens.LIFETIME))
        if keys:
            check_signature_headers(request, max_age)
    except Refusal as refusal:
        # Also for an expired token: a 401 might lose the mail (docs/sendgrid-console.md, "OAuth"). SendGrid
        # keeps the mail, and knows from `expires_in` when to get a new token. A retry may have the token of
        # the first post, as it may have the first signature. So a token of ours is valid for as long.
        raise _retry_later(str(refusal), refusal.reason) from None


def _length(request: HttpRequest, limit: int) -> int | None:
    """Bytes of the body by Content-Length; None for a chunked body, as a proxy may send."""
    announced = request.META.get("CONTENT_LENGTH", "")
    if announced.isdecimal():
        length = int(announced)
        if length > limit:
            raise _retry_later(f"the body has more than {limit} bytes", Reason.TOO_LARGE)
        return length
    # The server knows the end of the body. Under ASGI Django has the whole body by now.
    if request.META.get("wsgi.input_terminated", "wsgi.input" not in request.META):
        return None
    raise _retry_later("no Content-Length says how long the body is", Reason.MALFORMED)


def _receive(
    request: HttpRequest, length: int | None, limit: int, body: TemporaryUploadedFile, *digests: "_Hash"
) -> int:
    """Write the body into the file and update the digests; return the number of bytes."""
    # Under WSGI Django takes a body without a length for empty.
    source = request if length is not None else request.META.get("wsgi.input", request)
    received = 0
    while received <= limit and (chunk := _read(source)):
        received += len(chunk)
        for digest in digests:
            digest.update(chunk)
        body.write(chunk)
    if not received:
        raise _retry_later("the body is empty", Reason.MALFORMED)
    if received > limit:
        raise _retry_later(f"the body has more than {limit} bytes", Reason.TOO_LARGE)
    if length is not None and received != length:
        raise _retry_later("the body is not as long as its Content-Length says", Reason.CONNECTION)
    return received


def _read(source: Any) -> bytes:
    try:
        return bytes(source.read(CHUNK))
    except OSError:
        raise _retry_later("the connection broke before the body was complete", Reason.CONNECTION) from None
