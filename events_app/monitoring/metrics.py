"""The view of the metrics, for those who have the token."""

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from events_app.conf import METRICS_TOKEN
from events_app.monitoring import exposition


@require_safe
@login_not_required
@non_atomic_requests
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics for a request with the token. Others get 403 or 401."""
    try:
        token = METRICS_TOKEN.get()
        if not token:
            text = f"{METRICS_TOKEN.name} is not set on this server, so that no one can read the metrics"
            return _refused(HTTPStatus.FORBIDDEN, text)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # Django decodes the bytes of a header as ISO-8859-1. Prometheus sends UTF-8.
        is_right = constant_time_compare(given.strip().encode("latin-1", "replace"), token)
        if not (scheme.lower() == "bearer" and is_right):
            text = f"the metrics need the header Authorization: Bearer, with the {METRICS_TOKEN.name}"
            refused = _refused(HTTPStatus.UNAUTHORIZED, text)
            refused["WWW-Authenticate"] = "Bearer"
            return refused
        content, content_type = exposition.render(request.headers.get("Accept", ""))
    except ImproperlyConfigured as error:
        return _refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    return HttpResponse(content, content_type=content_type)


def _refused(status: HTTPStatus, why: str) -> HttpResponse:
    return HttpResponse(f"{why}\n", status=status, content_type="text/plain")
