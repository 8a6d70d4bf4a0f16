"""Answers monitors before the site's middleware could refuse or redirect them."""

from collections.abc import Callable
from contextlib import suppress

from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve

#: The last parts of the paths in `urls`, and the name of the app there.
NAMES, APP_NAME = frozenset(("livez", "readyz", "metrics")), "sendgrid_monitoring"


class AnswerMonitors:
    """Calls the views of `events_app.monitoring.urls` without the middleware below it.

    A monitor asks an instance by its own address and over http: kubelet sends the pod's IP as `Host`. A site
    refuses such a request (ALLOWED_HOSTS), redirects to https (SECURE_SSL_REDIRECT) or to the login. Must
    stand above the middleware that does so.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # First the cheap question: each post to a webhook comes by here.
        if request.path_info.rpartition("/")[2] in NAMES:
            with suppress(Resolver404):
                match = resolve(request.path_info, getattr(request, "urlconf", None))
                if match.app_name == APP_NAME:
                    response: HttpResponseBase = match.func(request)
                    return response
        return self.get_response(request)
