"""The doors SendGrid posts to: authenticate, split, append, ring, answer."""

import base64
import binascii
import logging
import time
from collections.abc import Sequence
from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from events_app import bell, conf, counters, signature, stream, tasks
from events_app.split import NotAnArray, TooMany, split

logger = logging.getLogger(__name__)

#: Seconds a signature's time may lie ahead of our clock.
MOST_AHEAD = 3600


class Refusal(Exception):
    """The answer to a post that is not taken; its text says why, without anything of the post."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


# non_atomic_requests: with ATOMIC_REQUESTS, Django would not get here while the database is away.
@method_decorator([csrf_exempt, login_not_required, non_atomic_requests], name="dispatch")
class SendGridTrackingWebhookView(View):
    """The Event Webhook's door. 2xx means: Redis has every event of the post.

    `as_view()` takes settings of its own for one URL: `basic_auth` ("user:password", or several)
    and `tracking_webhook_verification_key` (one, or several).
    """

    http_method_names = ["post", "head"]  # noqa: RUF012 (as Django has it)
    door = "tracking"

    basic_auth: str | Sequence[str] | None = None
    tracking_webhook_verification_key: str | Sequence[str] | None = None

    def head(self, request: HttpRequest) -> HttpResponse:
        """SendGrid and people try whether somebody is there."""
        return HttpResponse()

    def post(self, request: HttpRequest) -> HttpResponse:
        """Take the post's events, or say why not. SendGrid tries again for 24 hours after any non-2xx."""
        try:
            self._take(request)
        except Refusal as refusal:
            return self._refuse(refusal)
        except ImproperlyConfigured as error:
            logger.error("A setting is unusable: %s", error)
            return self._refuse(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "a setting here is unusable"))
        return HttpResponse()

    def _take(self, request: HttpRequest) -> None:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.VERIFICATION_KEYS.get(self.tracking_webhook_verification_key)
        _check_headers(request, secrets, keys)
        body = _read(request, conf.BODY_LIMIT.get())
        if keys:
            _check_signature(request, body, keys)
        try:
            events = split(body)
            if events and stream.append(self.door, events):
                bell.ring(tasks.drain)
        except NotAnArray as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        except TooMany as error:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
        except stream.Unavailable as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {error}") from None

    def _refuse(self, refusal: Refusal) -> HttpResponse:
        logger.warning("Webhook post refused with %d: %s", refusal.status, refusal)
        counters.count(counters.REFUSED.format(status=refusal.status.value))
        return HttpResponse(f"{refusal}\n", status=refusal.status, content_type="text/plain")


def _check_headers(request: HttpRequest, secrets: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse what the headers alone condemn, before a stranger can keep us waiting for a body."""
    if not (secrets or keys or conf.ALLOW_INSECURE.get()):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            f"neither {conf.VERIFICATION_KEYS.name} nor {conf.BASIC_AUTH.name} is set on this server",
        )
    if secrets and not _has_secret(request, secrets):
        raise Refusal(HTTPStatus.FORBIDDEN, "basic auth is missing or wrong")
    if keys and not request.headers.get(signature.SIGNATURE_HEADER):
        raise Refusal(HTTPStatus.FORBIDDEN, "the signature is missing")


def _read(request: HttpRequest, limit: int) -> bytes:
    """The body. Not request.body: DATA_UPLOAD_MAX_MEMORY_SIZE would refuse a large batch with 400."""
    announced = request.META.get("CONTENT_LENGTH", "")
    length = int(announced) if announced.isdecimal() else 0
    if length > limit:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
    try:
        body = bytes(request.read(limit + 1))
    except (UnreadablePostError, OSError):
        body = b""
    if len(body) < length:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the connection broke before the body was complete")
    if len(body) > limit:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
    if not (body or announced):
        # Under WSGI a chunked body reads as empty. SendGrid sends none; a proxy may make one.
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "no body, or no Content-Length that says how long it is")
    return body


def _has_secret(request: HttpRequest, secrets: Sequence[str]) -> bool:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(credentials.strip(), validate=True)
    except (ValueError, binascii.Error):
        return False
    # All of them are compared, so that the time taken tells nothing of which one came near.
    matches = [constant_time_compare(given, secret.encode()) for secret in secrets]
    return scheme.lower() == "basic" and any(matches)


def _check_signature(request: HttpRequest, body: bytes, keys: Sequence[str]) -> None:
    timestamp = request.headers.get(signature.TIMESTAMP_HEADER, "")
    given = request.headers.get(signature.SIGNATURE_HEADER, "")
    if not signature.verify(_usable(keys), timestamp=timestamp, signature=given, body=body):
        raise Refusal(HTTPStatus.FORBIDDEN, f"the signature fits no key of {conf.VERIFICATION_KEYS.name}")
    # SendGrid sends whole seconds, in ten digits until the year 2286.
    sent = int(timestamp) if timestamp.isdecimal() and len(timestamp) == 10 else None
    longest = conf.SIGNATURE_MAX_AGE.get()
    if longest is not None and (sent is None or time.time() - sent > longest):
        raise Refusal(HTTPStatus.FORBIDDEN, f"the signature is older than {longest} seconds")
    if sent is not None and sent - time.time() > MOST_AHEAD:
        raise Refusal(HTTPStatus.FORBIDDEN, "the signature is from the future: is this server's clock right?")


def _usable(keys: Sequence[str]) -> list[str]:
    """The keys that are keys: one that was pasted badly must not lock out the others."""
    usable = []
    for number, key in enumerate(keys, 1):
        try:
            signature.load_key(key)
            usable.append(key)
        except ValueError as error:
            logger.error("%s, key %d: %s", conf.VERIFICATION_KEYS.name, number, error)
    if not usable:
        raise ImproperlyConfigured(f"{conf.VERIFICATION_KEYS.name} holds no usable key")
    return usable
