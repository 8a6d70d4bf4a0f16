"""The base of both webhook views: authentication and refusals."""

import base64
import binascii
import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Generic, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from events_app.shared import counters
from events_app.shared.eager import is_eager
from events_app.shared.setting import Setting
from events_app.views import signature

logger = logging.getLogger(__package__)

# In WSGI's form: `request.headers` would build a dict of all headers for each post.
_SIGNATURE = HttpHeaders.to_wsgi_name(signature.SIGNATURE_HEADER)
_TIMESTAMP = HttpHeaders.to_wsgi_name(signature.TIMESTAMP_HEADER)

#: Seconds that a signature's timestamp may lie in the future, by our clock.
MOST_AHEAD = 3600


#: What a view has taken from a post.
Content = TypeVar("Content")


class WebhookResponse(HttpResponse):
    """The webhook view's own answer to a post. No middleware of the site makes a WebhookResponse."""

    # Read by django/utils/log.py, `log_response`. The view logs each refusal as a warning. Django would log
    # each 503 again, as an error. But a 503 is normal here: SendGrid posts again.
    _has_been_logged = True


class Refusal(Exception):
    """A post is not accepted. The text gives the reason and repeats nothing of the post."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


# non_atomic_requests: with ATOMIC_REQUESTS, Django would fail before it calls the view while the database is
# away.
@method_decorator([csrf_exempt, login_not_required, non_atomic_requests], name="dispatch")
class WebhookView(View, Generic[Content]):
    """Accepts posts, or answers with the reason for a refusal."""

    http_method_names = ["post", "head"]  # noqa: RUF012 (as Django has it)

    #: The webhook's name. It is stored with each post.
    webhook = ""
    basic_auth: str | Sequence[str] | None = None

    def head(self, request: HttpRequest) -> HttpResponse:
        """Answer a check of the URL by SendGrid or a person."""
        return HttpResponse()

    def post(self, request: HttpRequest) -> HttpResponse:
        in_test = is_eager()
        try:
            content = self.accept(request)
            if not in_test:
                self.hand_over(content)
        except Refusal as refusal:
            return self._refuse(refusal)
        except ImproperlyConfigured as error:
            logger.error("A setting is unusable: %s", error)
            return self._refuse(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "a setting here is unusable"))
        if in_test:
            self.call_receivers(content)
        return WebhookResponse()

    def accept(self, request: HttpRequest) -> Content:
        """The content of an authentic post. Raises Refusal, or ImproperlyConfigured."""
        raise NotImplementedError

    def hand_over(self, content: Content) -> None:
        """Leave the content to a worker. Raises Refusal."""
        raise NotImplementedError

    def call_receivers(self, content: Content) -> None:
        """Do a worker's part, in a test run. Raises an exception of a receiver."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> HttpResponse:
        logger.warning("Webhook post refused with %d: %s", refusal.status, refusal)
        counters.count(counters.REFUSED.format(status=refusal.status.value))
        return WebhookResponse(f"{refusal}\n", status=refusal.status, content_type="text/plain")


def signature_headers(request: HttpRequest) -> tuple[str, str]:
    """The timestamp and the signature, or empty strings."""
    return request.META.get(_TIMESTAMP, ""), request.META.get(_SIGNATURE, "")


def fault_in_headers(
    request: HttpRequest, secrets: Sequence[str], keys: Sequence[str], max_age: int | None
) -> str:
    """Why to refuse the post without reading the body, or an empty string. `max_age` is in seconds."""
    if secrets:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        try:
            pair = base64.b64decode(credentials.strip(), validate=True)
        except (ValueError, binascii.Error):
            pair = b""  # no secret is empty
        # Compare with all secrets, so that the time of the answer does not tell which secret was nearly
        # right.
        matches = [constant_time_compare(pair, secret.encode()) for secret in secrets]
        if scheme.lower() != "basic" or not any(matches):
            return "basic auth is missing or wrong"
    return _signature_fault(request, max_age) if keys else ""


def _signature_fault(request: HttpRequest, max_age: int | None) -> str:
    timestamp, signed = signature_headers(request)
    if not signed:
        return "the signature is missing"
    if not signature.is_well_formed(timestamp=timestamp, signature=signed):
        return "the signature or its timestamp is malformed"
    age = time.time() - int(timestamp)
    if max_age is not None and age > max_age:
        return f"the signature is older than {max_age} seconds"
    if age < -MOST_AHEAD:
        return "the signature is from the future: is this server's clock right?"
    return ""


def usable_keys(setting: Setting[tuple[str, ...]], keys: Sequence[str]) -> list[str]:
    """The well-formed keys. A malformed key is logged, so that the remaining keys still work.

    Raises ImproperlyConfigured if every key is malformed.
    """
    usable = []
    for number, key in enumerate(keys, 1):
        try:
            signature.load_key(key)
            usable.append(key)
        except ValueError as error:
            logger.error("%s, key %d: %s", setting.name, number, error)
    if not usable:
        raise ImproperlyConfigured(f"{setting.name} holds no usable key")
    return usable
