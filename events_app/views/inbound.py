"""The webhook view for inbound mail: save the post, record the post, wake a worker, answer.

After a 3xx or 4xx SendGrid drops a mail for good. After a 5xx SendGrid retries for 72 hours (Twilio docs,
"Inbound Parse Webhook"). So the view answers 503 whenever a mail is not saved. Only a post without
credentials gets 403.
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
from events_app.shared.eager import is_eager
from events_app.views import signature
from events_app.views.base import Refusal, WebhookView, fault_in_headers, signature_headers, usable_keys

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
            raise _retry_later(f"the database did not take the mail: {type(error).__name__}") from None
        except OSError as error:  # of the temporary file
            raise _retry_later(
                f"the storage did not take the mail: {storage.describe_error(error)}"
            ) from None
        except Exception:
            logger.exception("Could not accept a mail")
            raise _retry_later("something went wrong here") from None

    def hand_over(self, content: str) -> None:
        wakeup.wake(tasks.deliver_inbound)

    def call_receivers(self, content: str) -> None:
        eager.deliver_waiting(store.INBOUND_MAILS, mail__file=content)

    def _accept(self, request: HttpRequest) -> str:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.INBOUND_KEYS.get(self.inbound_webhook_verification_key)
        _check_credentials(request, secrets, keys)
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
                raise _retry_later(f"the signature fits no key of {conf.INBOUND_KEYS.name}")
            return self._save(request, body, size, content.digest())

    def _save(self, request: HttpRequest, body: TemporaryUploadedFile, size: int, digest: bytes) -> str:
        try:
            file = storage.save_file(body)
        except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
            raise _retry_later(
                f"the storage did not take the mail: {storage.describe_error(error)}"
            ) from None
        content_type = request.META.get("CONTENT_TYPE", "")
        try:
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


def _retry_later(why: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {why}")


def _check_credentials(request: HttpRequest, secrets: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse a post by the headers."""
    if not (secrets or keys):
        if conf.ALLOW_INSECURE.get():
            return
        raise _retry_later(
            f"neither {conf.INBOUND_KEYS.name} nor {conf.BASIC_AUTH.name} is set on this server"
        )
    _, signed = signature_headers(request)
    if not (signed or request.headers.get("Authorization")):
        raise Refusal(HTTPStatus.FORBIDDEN, "neither basic auth nor a signature")
    if why := fault_in_headers(request, secrets, keys, conf.INBOUND_SIGNATURE_MAX_AGE.get()):
        raise _retry_later(why)


def _length(request: HttpRequest, limit: int) -> int | None:
    """Bytes of the body by Content-Length; None for a chunked body, as a proxy may send."""
    announced = request.META.get("CONTENT_LENGTH", "")
    if announced.isdecimal():
        length = int(announced)
        if length > limit:
            raise _retry_later(f"the body has more than {limit} bytes")
        return length
    # The server knows the end of the body. Under ASGI Django has the whole body by now.
    if request.META.get("wsgi.input_terminated", "wsgi.input" not in request.META):
        return None
    raise _retry_later("no Content-Length says how long the body is")


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
        raise _retry_later("the body is empty")
    if received > limit:
        raise _retry_later(f"the body has more than {limit} bytes")
    if length is not None and received != length:
        raise _retry_later("the body is not as long as its Content-Length says")
    return received


def _read(source: Any) -> bytes:
    try:
        return bytes(source.read(CHUNK))
    except OSError:
        raise _retry_later("the connection broke before the body was complete") from None
