"""The unsubscribe page: a person, or a mail program at one click (RFC 8058), ends a stream of mail.

The token in the URL says who unsubscribes from which stream. Nobody logs in, and the body of a post is not
read: mail providers post `List-Unsubscribe=One-Click`, without cookies.
"""

import secrets
from hashlib import blake2b
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, InternalError, OperationalError
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import loader
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from events_app.shared.addresses import mask
from events_app.shared.log.floods import limited_logger
from sending_app.unsubscribe import limits, state
from sending_app.unsubscribe_links import ExpiredLink, InvalidLink, Link, read_token

logger = limited_logger(__package__)

#: Wrong tokens of a client in a minute. Right tokens have no such limit: a mail provider posts for thousands
#: of people from a few addresses.
MOST_WRONG = 10

#: Times that a link may end an unsubscribe in an hour. So the unsubscribes with an effect are limited too.
MOST_UNDONE = 5

#: Seconds until a program is to post again while the database is away.
RETRY_AFTER = 10

#: The path of `ResubscribeView` below the page's.
UNDO = "/undo"

# A replaced template may have styles, pictures and fonts of the site.
_POLICY = (
    "default-src 'none'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class PageResponse(HttpResponse):
    """A page about a link. No program keeps the page, and no link of the page tells the URL."""

    # Read by django/utils/log.py, `log_response`. Django would log the path, which has the token.
    _has_been_logged = True


# csrf_exempt: mail providers have no cookie, and nobody can guess a token. non_atomic_requests: with
# ATOMIC_REQUESTS, Django would fail before it calls the view while the database is away.
@method_decorator([csrf_exempt, login_not_required, non_atomic_requests], name="dispatch")
class UnsubscribeView(View):
    """Asks at GET, and unsubscribes at POST. Programs that check links follow them: GET changes nothing."""

    http_method_names = ["get", "head", "post", "options"]  # noqa: RUF012 (as Django has it)

    link: Link

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            self.link = read_token(kwargs["token"])
        except ExpiredLink:
            return _page("expired", HTTPStatus.GONE)
        except InvalidLink:
            return _refuse(request)
        try:
            return super().dispatch(request, *args, **kwargs)
        except (OperationalError, InternalError, InterfaceError) as error:
            logger.warning("An unsubscribe got 503: the database is away (%s)", type(error).__name__)
            page = _page("later", HTTPStatus.SERVICE_UNAVAILABLE)
            page["Retry-After"] = str(RETRY_AFTER)
            return page

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        return self.page("ask")

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        state.unsubscribe(self.link)
        return self.page("unsubscribed")

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Without Django's log line, which has the path.
        allowed = self.options(request)["Allow"]
        return PageResponse(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allowed})

    def page(self, name: str, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
        """A page about the link, whose buttons lead to both views."""
        path = self.request.path.removesuffix(UNDO)
        return _page(
            name,
            status,
            address=mask(self.link.address),
            scope=self.link.scope,
            unsubscribe_url=path,
            undo_url=f"{path}{UNDO}",
        )


class ResubscribeView(UnsubscribeView):
    """Ends an unsubscribe at POST: the undo of the page. Not for mail programs."""

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        digest = blake2b(token.encode(), digest_size=16).hexdigest()
        if limits.is_exceeded(f"undo:{digest}", MOST_UNDONE, 3600):
            page = self.page("too_often", HTTPStatus.TOO_MANY_REQUESTS)
            page["Retry-After"] = "3600"
            return page
        state.resubscribe(self.link)
        return self.page("subscribed")


def _refuse(request: HttpRequest) -> HttpResponse:
    client = request.META.get("REMOTE_ADDR", "")
    if limits.is_exceeded(f"wrong:{client}", MOST_WRONG, 60):
        page = _page("invalid", HTTPStatus.TOO_MANY_REQUESTS)
        page["Retry-After"] = "60"
        return page
    logger.info(
        "A link to unsubscribe is damaged, or was made with a secret key that this site does not have"
    )
    return _page("invalid", HTTPStatus.BAD_REQUEST)


def _page(name: str, status: HTTPStatus, **context: str) -> HttpResponse:
    nonce = secrets.token_urlsafe(16)
    # Without the request: context processors would ask for the user, and for the database.
    content = loader.render_to_string(f"sending_app/unsubscribe/{name}.html", {**context, "nonce": nonce})
    return PageResponse(
        content,
        status=status,
        headers={
            "Content-Security-Policy": _POLICY.format(nonce=nonce),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Robots-Tag": "noindex",
        },
    )
