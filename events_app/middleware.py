"""Middleware for SendGrid's posts: a faster way of events, and inbound mails that the site cannot drop."""

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.views import View

from events_app.shared import counters
from events_app.shared.counters import Reason
from events_app.shared.counting import count
from events_app.shared.log.floods import limited_logger
from events_app.views.base import WebhookResponse
from events_app.views.inbound import SendGridInboundWebhookView
from events_app.views.tracking import SendGridTrackingWebhookView

logger = limited_logger(__name__)


class AnswerEventWebhook:
    """Calls the view of the Event Webhook without the middleware below it.

    Optional. A post of events needs no session, user or CSRF token, and a site's middleware costs web a fifth
    of the CPU time. The host name must still be in ALLOWED_HOSTS, as CommonMiddleware requires of every
    request. Must stand above the middleware that it leaves out.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        match = _event_webhook(request)
        if match is None:
            return self.get_response(request)
        request.get_host()  # raises DisallowedHost
        request.resolver_match = match
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response


def _event_webhook(request: HttpRequest) -> ResolverMatch | None:
    """The match of a post of events; None for other requests."""
    # First the cheap questions: every other request is matched again, for its own view.
    if request.method == "POST" and request.content_type == "application/json":
        with suppress(Resolver404):
            match = _resolve(request, request.path_info)
            if _leads_to(match, SendGridTrackingWebhookView):
                return match
    return None


class KeepInboundMail:
    """Replaces the site's own 3xx and 4xx answers to the post of an inbound mail with 503.

    SendGrid drops a mail for good after a 3xx or 4xx. Sites answer so for a host name outside ALLOWED_HOSTS,
    a redirect to https or to a slash, a login, a rate limit or a "back soon" page. Must be the first entry of
    MIDDLEWARE.
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
            "An inbound mail got 503, so that SendGrid retries, in place of %s", _describe(request, response)
        )
        count(counters.WEBHOOK_POSTS, SendGridInboundWebhookView.webhook, "503", Reason.SITE)
        text = f"not taken, send again: this site answered {status} in the webhook's place\n"
        return WebhookResponse(text, status=HTTPStatus.SERVICE_UNAVAILABLE, content_type="text/plain")


def _is_for_inbound_webhook(request: HttpRequest) -> bool:
    """Whether the path leads to the inbound webhook, with or without a final slash."""
    for path in (request.path_info, f"{request.path_info}/"):
        with suppress(Resolver404):
            if _leads_to(_resolve(request, path), SendGridInboundWebhookView):
                return True
    return False


def _resolve(request: HttpRequest, path: str) -> ResolverMatch:
    return resolve(path, getattr(request, "urlconf", None))


def _leads_to(match: ResolverMatch, view_class: type[View]) -> bool:
    return issubclass(getattr(match.func, "view_class", object), view_class)


def _describe(request: HttpRequest, response: HttpResponseBase) -> str:
    """The answer of the site, and the probable source."""
    # Without the query: a site may put secrets into a redirect.
    to = urlsplit(response.get("Location", ""))._replace(query="", fragment="").geturl()
    answer = f"{response.status_code}{to and ' to '}{to}"
    if request.resolver_match:
        return f"{answer} from around the webhook's view: a decorator or a middleware"
    hint = "; is its host name in ALLOWED_HOSTS?" if response.status_code == HTTPStatus.BAD_REQUEST else ""
    return f"{answer} from a middleware, before any view{hint}"
