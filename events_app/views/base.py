"""The base of both webhook views: the order of the work, and the refusals."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from events_app.shared import counters, tracing
from events_app.shared.counters import Reason
from events_app.shared.counting import count
from events_app.shared.eager import is_eager
from events_app.shared.log.floods import limited_logger

logger = limited_logger(__package__)

#: What a view has taken from a post.
Content = TypeVar("Content")


class WebhookResponse(HttpResponse):
    """The webhook view's own answer to a post. No middleware of the site makes a WebhookResponse."""

    # Read by django/utils/log.py, `log_response`. The view logs each refusal as a warning. Django would log
    # each 503 again, as an error. But a 503 is normal here: SendGrid posts again.
    _has_been_logged = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Without Django's CommonMiddleware nothing else would set it: `events_app.middleware`.
        self["Content-Length"] = str(len(self.content))


class Refusal(Exception):
    """A post is not accepted. The text gives the reason and repeats nothing of the post.

    `challenge` is the answer's WWW-Authenticate header.
    """

    def __init__(
        self, status: HTTPStatus, why: str, reason: Reason | None = None, challenge: str = ""
    ) -> None:
        super().__init__(why)
        self.status = status
        self.reason = reason or _REASONS.get(status, Reason.FAULT)
        self.challenge = challenge


# The usual reason for a status.
_REASONS = {
    HTTPStatus.BAD_REQUEST: Reason.MALFORMED,
    HTTPStatus.UNAUTHORIZED: Reason.CREDENTIALS,
    HTTPStatus.FORBIDDEN: Reason.CREDENTIALS,
    HTTPStatus.LENGTH_REQUIRED: Reason.MALFORMED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Reason.TOO_LARGE,
}


class WebhookView(View, Generic[Content]):
    """Accepts posts, or answers with the reason for a refusal."""

    http_method_names = ["post", "head"]  # noqa: RUF012 (as Django has it)

    #: The webhook's name. It is stored with each post.
    webhook = ""
    basic_auth: str | Sequence[str] | None = None

    @classonlymethod
    def as_view(cls, **settings: Any) -> Callable[..., HttpResponseBase]:
        # Not by `method_decorator`, which would wrap `dispatch` again for each post. non_atomic_requests:
        # with ATOMIC_REQUESTS, Django would fail before it calls the view while the database is away.
        view = super().as_view(**settings)
        return csrf_exempt(login_not_required(non_atomic_requests(view)))

    def head(self, request: HttpRequest) -> HttpResponse:
        """Answer a check of the URL by SendGrid or a person."""
        return HttpResponse()

    def post(self, request: HttpRequest) -> HttpResponse:
        self._began = time.time_ns()
        in_test = is_eager()
        try:
            content = self.accept(request)
            if not in_test:
                self.hand_over(content)
        except Refusal as refusal:
            return self._refuse(refusal)
        except ImproperlyConfigured as error:
            logger.error("A setting is unusable: %s", error)
            why = "a setting here is unusable"
            return self._refuse(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, why, Reason.SETTINGS))
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

    def span(self, name: str) -> tracing.Spanning:
        """The span of an authentic post, from the beginning of the request. Other posts have none."""
        # Without a trace of the request's headers: the header of a stranger could have every post sampled.
        return tracing.start(name, "PRODUCER", {"messaging.system": "sendgrid"}, self._began)

    def _refuse(self, refusal: Refusal) -> HttpResponse:
        text, reason = "Webhook post refused with %d: %s", str(refusal)
        fields = {"webhook": self.webhook, "status_code": refusal.status.value, "_kind": (text, reason)}
        logger.warning(text, refusal.status, reason, extra=fields)
        count(counters.WEBHOOK_POSTS, self.webhook, str(refusal.status.value), refusal.reason)
        headers = {"WWW-Authenticate": refusal.challenge} if refusal.challenge else None
        return WebhookResponse(
            f"{refusal}\n", status=refusal.status, content_type="text/plain", headers=headers
        )


def count_accepted(webhook: str) -> None:
    """Count a post answered with 200, unless `stream.append` has counted it."""
    count(counters.WEBHOOK_POSTS, webhook, "200", Reason.ACCEPTED)
