"""What the webhook views have in common: whom they let in, and how they say no."""

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
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from events_app.shared import counters
from events_app.shared.setting import Setting
from events_app.views import signature

logger = logging.getLogger(__package__)

#: Seconds a signature's time may lie ahead of our clock.
MOST_AHEAD = 3600


class WebhookResponse(HttpResponse):
    """The webhook view's own answer to a post. No middleware of the site makes one."""

    # Read by django/utils/log.py, `log_response`. The view logs each refusal once, as a warning; Django would
    # log each 503 once more, as an error. But a 503 is normal here: SendGrid posts again.
    _has_been_logged = True


class Refusal(Exception):
    """The answer to a post that is not taken; its text says why, without anything of the post."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


# non_atomic_requests: with ATOMIC_REQUESTS, Django would not get here while the database is away.
@method_decorator([csrf_exempt, login_not_required, non_atomic_requests], name="dispatch")
class WebhookView(View):
    """Takes posts, or says why not."""

    http_method_names = ["post", "head"]  # noqa: RUF012 (as Django has it)

    #: Its name, which is kept with what came through it.
    webhook = ""
    basic_auth: str | Sequence[str] | None = None

    def head(self, request: HttpRequest) -> HttpResponse:
        """SendGrid and people try whether somebody is there."""
        return HttpResponse()

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            self.accept(request)
        except Refusal as refusal:
            return self._refuse(refusal)
        except ImproperlyConfigured as error:
            logger.error("A setting is unusable: %s", error)
            return self._refuse(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "a setting here is unusable"))
        return WebhookResponse()

    def accept(self, request: HttpRequest) -> None:
        """Raises Refusal, or ImproperlyConfigured."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> HttpResponse:
        logger.warning("Webhook post refused with %d: %s", refusal.status, refusal)
        counters.count(counters.REFUSED.format(status=refusal.status.value))
        return WebhookResponse(f"{refusal}\n", status=refusal.status, content_type="text/plain")


def signature_fault(timestamp: str, given: str, longest: int | None) -> str:
    """Why the headers alone refute a signature; empty where they do not. `longest` is in seconds."""
    if not signature.is_well_formed(timestamp=timestamp, signature=given):
        return "the signature or its timestamp is malformed"
    age = time.time() - int(timestamp)
    if longest is not None and age > longest:
        return f"the signature is older than {longest} seconds"
    if age < -MOST_AHEAD:
        return "the signature is from the future: is this server's clock right?"
    return ""


def has_secret(request: HttpRequest, secrets: Sequence[str]) -> bool:
    """Whether the post bears one of the "user:password" pairs."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(credentials.strip(), validate=True)
    except (ValueError, binascii.Error):
        return False
    # All of them are compared, so that the time taken tells nothing of which one came near.
    matches = [constant_time_compare(given, secret.encode()) for secret in secrets]
    return scheme.lower() == "basic" and any(matches)


def usable_keys(setting: Setting[tuple[str, ...]], keys: Sequence[str]) -> list[str]:
    """The keys that are keys: one that was pasted badly must not lock out the others.

    Raises ImproperlyConfigured where none is.
    """
    found = []
    for number, key in enumerate(keys, 1):
        try:
            signature.load_key(key)
            found.append(key)
        except ValueError as error:
            logger.error("%s, key %d: %s", setting.name, number, error)
    if not found:
        raise ImproperlyConfigured(f"{setting.name} holds no usable key")
    return found
