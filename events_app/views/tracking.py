"""The webhook view for events: authenticate, split, append, wake a worker, answer."""

from collections.abc import Sequence
from http import HTTPStatus

from django.http import HttpRequest
from django.http.request import HttpHeaders, UnreadablePostError

from events_app import conf, stream, tasks
from events_app.shared import wakeup
from events_app.views import signature
from events_app.views.base import Refusal, WebhookView, has_secret, signature_fault, usable_keys
from events_app.views.split import NotAnArray, TooMany, split

# As WSGI calls them: `request.headers` would first make a dict of all there are, for each post.
_SIGNATURE = HttpHeaders.to_wsgi_name(signature.SIGNATURE_HEADER)
_TIMESTAMP = HttpHeaders.to_wsgi_name(signature.TIMESTAMP_HEADER)


class SendGridTrackingWebhookView(WebhookView):
    """The Event Webhook's view. 2xx means: Redis has every event of the post.

    SendGrid tries again for 24 hours after any non-2xx. `as_view()` takes settings of its own for one URL:
    `basic_auth` ("user:password", or several) and `tracking_webhook_verification_key` (one, or several).
    """

    webhook = "tracking"

    tracking_webhook_verification_key: str | Sequence[str] | None = None

    def accept(self, request: HttpRequest) -> None:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.VERIFICATION_KEYS.get(self.tracking_webhook_verification_key)
        _check_headers(request, secrets, keys)
        body = _read(request, conf.BODY_LIMIT.get())
        if keys:
            _check_signature(request, body, keys)
        try:
            events = split(body)
            if events and stream.append(self.webhook, events):
                wakeup.wake(tasks.drain)
        except NotAnArray as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        except TooMany as error:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
        except stream.Unavailable as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {error}") from None


def _check_headers(request: HttpRequest, secrets: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse what the headers alone condemn, before a stranger can keep us waiting for a body."""
    if not (secrets or keys or conf.ALLOW_INSECURE.get()):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            f"neither {conf.VERIFICATION_KEYS.name} nor {conf.BASIC_AUTH.name} is set on this server",
        )
    if secrets and not has_secret(request, secrets):
        raise Refusal(HTTPStatus.FORBIDDEN, "basic auth is missing or wrong")
    if keys and not request.META.get(_SIGNATURE):
        raise Refusal(HTTPStatus.FORBIDDEN, "the signature is missing")
    if keys and (why := signature_fault(*_signature(request), conf.SIGNATURE_MAX_AGE.get())):
        raise Refusal(HTTPStatus.FORBIDDEN, why)


def _signature(request: HttpRequest) -> tuple[str, str]:
    """The timestamp and the signature, as the headers have them."""
    return request.META.get(_TIMESTAMP, ""), request.META.get(_SIGNATURE, "")


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


def _check_signature(request: HttpRequest, body: bytes, keys: Sequence[str]) -> None:
    timestamp, given = _signature(request)
    fitting = usable_keys(conf.VERIFICATION_KEYS, keys)
    if not signature.verify(fitting, timestamp=timestamp, signature=given, body=body):
        raise Refusal(HTTPStatus.FORBIDDEN, f"the signature fits no key of {conf.VERIFICATION_KEYS.name}")
