"""The webhook view for mail that comes in: save the post, record it, wake a worker, answer.

After any 3xx or 4xx SendGrid drops a mail for good; after a 5xx it tries again for 72 hours (Twilio docs,
"Inbound Parse Webhook"). So all that is not kept is answered with 503, whosever fault it is, but for whoever
bears no credentials at all.
"""

import logging
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest

from events_app import conf, tasks
from events_app.inbound import storage, store
from events_app.shared import wakeup
from events_app.views import signature
from events_app.views.base import Refusal, WebhookView, has_secret, signature_fault, usable_keys

if TYPE_CHECKING:
    from hashlib import _Hash

logger = logging.getLogger(__name__)

#: Bytes of a body that are in memory at once.
CHUNK = 256 * 1024


class SendGridInboundWebhookView(WebhookView):
    """Inbound Parse's webhook. 2xx means: the storage has the post, and the database knows of it.

    What an authentic post holds does not matter here: a worker reads it. `as_view()` takes settings of its
    own for one URL: `basic_auth` ("user:password", or several) and `inbound_webhook_verification_key` (one,
    or several).
    """

    webhook = "inbound"

    inbound_webhook_verification_key: str | Sequence[str] | None = None

    def accept(self, request: HttpRequest) -> None:
        try:
            self._accept(request)
        except (Refusal, ImproperlyConfigured):
            raise
        except (DatabaseError, InterfaceError) as error:
            raise _retry_later(f"the database did not take the mail: {type(error).__name__}") from None
        except OSError as error:  # the disk of the file that the post comes into
            raise _retry_later(f"the storage did not take the mail: {storage.why(error)}") from None
        except Exception:
            logger.exception("A mail could not be taken")
            raise _retry_later("something went wrong here") from None

    def _accept(self, request: HttpRequest) -> None:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.INBOUND_KEYS.get(self.inbound_webhook_verification_key)
        _check_credentials(request, secrets, keys)
        fitting = usable_keys(conf.INBOUND_KEYS, keys) if keys else []
        # All that can be said without the body is said before we wait for it.
        storage.backend()
        limit = conf.INBOUND_LIMIT.get()
        length = _length(request, limit)
        plain, signed = sha256(), signature.begin(request.headers.get(signature.TIMESTAMP_HEADER, ""))
        with TemporaryUploadedFile("post.form", None, length or 0, None) as body:
            size = _receive(request, length, limit, body, plain, signed)
            if keys:
                _check_signature(request, fitting, signed.digest())
            self._save(request, body, size, plain.digest())
        wakeup.wake(tasks.deliver_inbound)

    def _save(self, request: HttpRequest, body: TemporaryUploadedFile, size: int, digest: bytes) -> None:
        try:
            file = storage.save(body)
        except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
            raise _retry_later(f"the storage did not take the mail: {storage.why(error)}") from None
        content_type = request.META.get("CONTENT_TYPE", "")
        try:
            store.save(self.webhook, file=file, size=size, digest=digest, content_type=content_type)
        except Exception:
            if not _was_saved(file):
                _remove_file(file)
                raise


def _retry_later(why: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {why}")


def _check_credentials(request: HttpRequest, secrets: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse what the headers alone condemn."""
    if not (secrets or keys):
        if conf.ALLOW_INSECURE.get():
            return
        raise _retry_later(
            f"neither {conf.INBOUND_KEYS.name} nor {conf.BASIC_AUTH.name} is set on this server"
        )
    signed = request.headers.get(signature.SIGNATURE_HEADER, "")
    timestamp = request.headers.get(signature.TIMESTAMP_HEADER, "")
    if not (signed or request.headers.get("Authorization")):
        raise Refusal(HTTPStatus.FORBIDDEN, "neither basic auth nor a signature")
    if secrets and not has_secret(request, secrets):
        raise _retry_later("basic auth is missing or wrong")
    if keys and not (signed and timestamp):
        raise _retry_later("the signature is missing")
    if keys and (why := signature_fault(timestamp, signed, conf.INBOUND_SIGNATURE_MAX_AGE.get())):
        raise _retry_later(why)


def _length(request: HttpRequest, limit: int) -> int | None:
    """Bytes of the body, as announced; None where it comes in chunks, as a proxy may send it on."""
    announced = request.META.get("CONTENT_LENGTH", "")
    if announced.isdecimal():
        length = int(announced)
        if length > limit:
            raise _retry_later(f"the body has more than {limit} bytes")
        return length
    # The server knows where it ends; under ASGI Django has all of it by now.
    if request.META.get("wsgi.input_terminated", "wsgi.input" not in request.META):
        return None
    raise _retry_later("no Content-Length says how long the body is")


def _receive(
    request: HttpRequest, length: int | None, limit: int, body: TemporaryUploadedFile, *digests: "_Hash"
) -> int:
    """Put the body into the file while the digests run; answer how many bytes it has."""
    # Under WSGI Django takes a body without a length for an empty one.
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


def _check_signature(request: HttpRequest, keys: Sequence[str], digest: bytes) -> None:
    timestamp = request.headers.get(signature.TIMESTAMP_HEADER, "")
    given = request.headers.get(signature.SIGNATURE_HEADER, "")
    if not signature.verify_digest(keys, timestamp=timestamp, signature=given, digest=digest):
        raise _retry_later(f"the signature fits no key of {conf.INBOUND_KEYS.name}")


def _was_saved(file: str) -> bool:
    # A connection that breaks at the commit does not tell what became of it. Where nobody can say, it is not
    # kept: SendGrid posts it again, and were all these files to stay, an outage would fill the storage.
    try:
        return store.is_saved(file)
    except (DatabaseError, InterfaceError):
        return False


def _remove_file(file: str) -> None:
    try:
        storage.remove(file)
    except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
        logger.warning(
            "The file of a mail that was not taken stays until it is swept: %s", storage.why(error)
        )
