"""The door for mail that comes in: keep the post, note it, ring, answer.

After any 3xx or 4xx SendGrid drops a mail for good; after a 5xx it tries again for 72 hours (Twilio docs,
"Inbound Parse Webhook"). So all that is not kept is answered with 503, whosever fault it is, but for whoever
bears no credentials at all.
"""

import logging
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest

from events_app import bell, conf, signature, tasks
from events_app.inbound import mails, storage
from events_app.views.door import Door, Refusal, has_secret, usable

if TYPE_CHECKING:
    from hashlib import _Hash

logger = logging.getLogger(__name__)

#: Bytes of a body that are in memory at once.
CHUNK = 256 * 1024


class SendGridInboundWebhookView(Door):
    """Inbound Parse's door. 2xx means: the storage has the post, and the database knows of it.

    What an authentic post holds does not matter here: a worker reads it. `as_view()` takes settings of its
    own for one URL: `basic_auth` ("user:password", or several) and `inbound_webhook_verification_key` (one,
    or several).
    """

    door = "inbound"

    inbound_webhook_verification_key: str | Sequence[str] | None = None

    def take(self, request: HttpRequest) -> None:
        try:
            self._take(request)
        except (Refusal, ImproperlyConfigured):
            raise
        except (DatabaseError, InterfaceError) as error:
            raise _again(f"the database did not take the mail: {type(error).__name__}") from None
        except Exception:
            logger.exception("A mail could not be taken")
            raise _again("something went wrong here") from None

    def _take(self, request: HttpRequest) -> None:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.INBOUND_KEYS.get(self.inbound_webhook_verification_key)
        _check_credentials(request, secrets, keys)
        fitting = usable(conf.INBOUND_KEYS, keys) if keys else []
        # All that can be said without the body is said before we wait for it.
        storage.backend()
        length = _length(request, conf.INBOUND_LIMIT.get())
        plain, signed = sha256(), signature.begin(request.headers.get(signature.TIMESTAMP_HEADER, ""))
        with TemporaryUploadedFile("post.form", None, length, None) as body:
            _receive(request, length, body, plain, signed)
            if keys:
                _check_signature(request, fitting, signed.digest())
            self._keep(request, body, length, plain.digest())
        bell.ring(tasks.deliver_inbound)

    def _keep(self, request: HttpRequest, body: TemporaryUploadedFile, size: int, digest: bytes) -> None:
        try:
            file = storage.keep(body)
        except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
            raise _again(f"the storage did not take the mail: {storage.why(error)}") from None
        content_type = request.META.get("CONTENT_TYPE", "")
        try:
            mails.keep(self.door, file=file, size=size, digest=digest, content_type=content_type)
        except Exception:
            if not _is_kept_all_the_same(file):
                _take_back(file)
                raise


def _again(why: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {why}")


def _check_credentials(request: HttpRequest, secrets: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse what the headers alone condemn."""
    if not (secrets or keys):
        if conf.ALLOW_INSECURE.get():
            return
        raise _again(f"neither {conf.INBOUND_KEYS.name} nor {conf.BASIC_AUTH.name} is set on this server")
    signed = request.headers.get(signature.SIGNATURE_HEADER)
    if not (signed or request.headers.get("Authorization")):
        raise Refusal(HTTPStatus.FORBIDDEN, "neither basic auth nor a signature")
    if secrets and not has_secret(request, secrets):
        raise _again("basic auth is missing or wrong")
    if keys and not (signed and request.headers.get(signature.TIMESTAMP_HEADER)):
        raise _again("the signature is missing")


def _length(request: HttpRequest, limit: int) -> int:
    """Bytes of the body, as announced."""
    announced = request.META.get("CONTENT_LENGTH", "")
    if not announced.isdecimal():
        # Under WSGI a chunked body reads as empty. SendGrid sends none; a proxy may make one.
        raise _again("no Content-Length says how long the body is")
    length = int(announced)
    if not length:
        raise _again("the body is empty")
    if length > limit:
        raise _again(f"the body has more than {limit} bytes")
    return length


def _receive(request: HttpRequest, length: int, body: TemporaryUploadedFile, *digests: "_Hash") -> None:
    """Put the body into the file while the digests run."""
    received = 0
    while received <= length and (chunk := _read(request)):
        received += len(chunk)
        for digest in digests:
            digest.update(chunk)
        body.write(chunk)
    if received != length:
        raise _again("the body is not as long as its Content-Length says")


def _read(request: HttpRequest) -> bytes:
    try:
        return bytes(request.read(CHUNK))
    except OSError:
        raise _again("the connection broke before the body was complete") from None


def _check_signature(request: HttpRequest, keys: Sequence[str], digest: bytes) -> None:
    timestamp = request.headers.get(signature.TIMESTAMP_HEADER, "")
    given = request.headers.get(signature.SIGNATURE_HEADER, "")
    if not signature.verify_digest(keys, timestamp=timestamp, signature=given, digest=digest):
        raise _again(f"the signature fits no key of {conf.INBOUND_KEYS.name}")


def _is_kept_all_the_same(file: str) -> bool:
    # A connection that breaks at the commit does not tell what became of it.
    try:
        return mails.is_kept(file)
    except (DatabaseError, InterfaceError):
        return False


def _take_back(file: str) -> None:
    try:
        storage.remove(file)
    except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
        logger.warning(
            "The file of a mail that was not taken stays until it is swept: %s", storage.why(error)
        )
