"""The webhook view for events: authenticate, split, append, wake a worker, answer."""

from collections.abc import Sequence
from http import HTTPStatus

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from events_app import conf, stream, tasks
from events_app.dispatch import eager
from events_app.shared import wakeup
from events_app.shared.counters import Reason
from events_app.views import own_tokens, signature
from events_app.views.authentication import (
    accepts_nobody,
    check_authorization,
    check_signature_headers,
    signature_headers,
    usable_keys,
)
from events_app.views.base import Refusal, WebhookView, count_accepted
from events_app.views.split import NotAnArray, TooMany, split


class SendGridTrackingWebhookView(WebhookView[list[bytes]]):
    """The Event Webhook's view. A 2xx answer means: Redis has every event of the post.

    After a non-2xx answer SendGrid retries for 24 hours. `as_view()` takes settings for a single URL:
    `basic_auth` ("user:password", or a list) and `tracking_webhook_verification_key` (a key, or a list).
    """

    webhook = "tracking"

    tracking_webhook_verification_key: str | Sequence[str] | None = None

    def accept(self, request: HttpRequest) -> list[bytes]:
        secrets = conf.BASIC_AUTH.get(self.basic_auth)
        keys = conf.VERIFICATION_KEYS.get(self.tracking_webhook_verification_key)
        # Before a stranger can keep this view waiting for a body.
        if accepts_nobody(secrets, keys) and not conf.ALLOW_INSECURE.get():
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                f"none of {conf.VERIFICATION_KEYS.name}, {conf.BASIC_AUTH.name} and "
                f"{conf.OAUTH_CLIENTS.name} is set on this server",
                Reason.SETTINGS,
            )
        check_authorization(request, self.webhook, secrets, own_tokens.LIFETIME)
        del secrets  # Sentry stores the local variables of a function that raises an exception
        if keys:
            check_signature_headers(request, conf.SIGNATURE_MAX_AGE.get())
        body = _read(request, conf.BODY_LIMIT.get())
        if keys:
            timestamp, signed = signature_headers(request)
            usable = usable_keys(conf.VERIFICATION_KEYS, keys)
            if not signature.verify(usable, timestamp=timestamp, signature=signed, body=body):
                raise Refusal(
                    HTTPStatus.FORBIDDEN, f"the signature fits no key of {conf.VERIFICATION_KEYS.name}"
                )
        try:
            return split(body)
        except NotAnArray as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        except TooMany as error:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None

    def hand_over(self, content: list[bytes]) -> None:
        with self.span("receive events") as span:
            span.note("messaging.batch.message_count", len(content))
            try:
                if not content:
                    count_accepted(self.webhook)
                elif stream.append(self.webhook, content):
                    wakeup.wake(tasks.drain)
            except stream.AppendFailed as error:
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE, f"not taken, send again: {error}", error.reason
                ) from None

    def call_receivers(self, content: list[bytes]) -> None:
        eager.deliver_events(self.webhook, content)


def _read(request: HttpRequest, limit: int) -> bytes:
    """The body. With request.body, DATA_UPLOAD_MAX_MEMORY_SIZE would refuse a large batch with 400."""
    announced = request.META.get("CONTENT_LENGTH", "")
    length = int(announced) if announced.isdecimal() else 0
    if length > limit:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
    try:
        body = bytes(request.read(limit + 1))
    except (UnreadablePostError, OSError):
        body = b""
    if len(body) < length:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "the connection broke before the body was complete", Reason.CONNECTION
        )
    if len(body) > limit:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
    if not (body or announced):
        # Under WSGI a chunked body reads as empty. SendGrid sends no chunks, but a proxy may.
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "no body, or no Content-Length that says how long it is")
    return body
