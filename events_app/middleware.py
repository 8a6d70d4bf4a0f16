"""Keeps inbound mail from what a site answers before, or instead of, the webhook."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve

from events_app.shared import counters
from events_app.views.base import WebhookResponse
from events_app.views.inbound import SendGridInboundWebhookView

logger = logging.getLogger(__name__)


class KeepInboundMail:
    """Makes 503 of each 3xx and 4xx that a post of a mail gets and that the webhook did not give.

    SendGrid drops a mail for good after such an answer, be it meant for it or not: a host name that is not
    in ALLOWED_HOSTS, a redirect to https or to a slash, a login, a rate limit, a page that says "back soon".
    It must come first in MIDDLEWARE.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        status = response.status_code
        if request.method != "POST" or not 300 <= status < 500 or isinstance(response, WebhookResponse):
            return response
        if not _is_for_inbound_webhook(request):
            return response
        logger.error(
            "So that SendGrid keeps a mail, its post got 503 in place of %s", _what(request, response)
        )
        counters.count(counters.REFUSED.format(status=HTTPStatus.SERVICE_UNAVAILABLE.value))
        text = f"not taken, send again: this site answered {status} in the webhook's place\n"
        return WebhookResponse(text, status=HTTPStatus.SERVICE_UNAVAILABLE, content_type="text/plain")


def _is_for_inbound_webhook(request: HttpRequest) -> bool:
    """By its path, with a slash at the end or without."""
    for path in (request.path_info, f"{request.path_info}/"):
        try:
            found = resolve(path, getattr(request, "urlconf", None))
        except Resolver404:
            continue
        view = getattr(found.func, "view_class", object)
        if issubclass(view, SendGridInboundWebhookView):
            return True
    return False


def _what(request: HttpRequest, response: HttpResponseBase) -> str:
    """The answer, and who may have given it."""
    # Its path alone: a site may put more into a redirect than a log should have.
    to = urlsplit(response.get("Location", ""))._replace(query="", fragment="").geturl()
    answer = f"{response.status_code}{to and ' to '}{to}"
    if request.resolver_match:
        return f"{answer} from around the webhook's view: a decorator or a middleware"
    hint = "; is its host name in ALLOWED_HOSTS?" if response.status_code == HTTPStatus.BAD_REQUEST else ""
    return f"{answer} from a middleware, before any view{hint}"
