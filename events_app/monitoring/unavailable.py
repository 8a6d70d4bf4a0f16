"""The page in place of an error 500 while the database does not answer.

Sessions and users are in the database. Without the database no page of the admin works, so this page needs no
login: the page tells the lines of `/readyz`, which strangers may read.
"""

import sys
from http import HTTPStatus

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.views.defaults import server_error as django_server_error

from events_app.monitoring import health
from events_app.shared.facts import ANSWERS, Level

#: Seconds until the browser asks again.
RETRY_AFTER = 10


def server_error(request: HttpRequest) -> HttpResponse:
    """The handler of status 500: 503 with the state in plain words if the database raised the error."""
    # Django calls the handler while it handles the exception.
    if not isinstance(sys.exception(), Error):
        return django_server_error(request)
    lines = [line for line in health.lines() if line.level > Level.ADVICE]
    if not any(line.fact == ANSWERS for line in lines):
        return django_server_error(request)  # the servers answer: a fault of the program
    # Without the request: context processors would ask for the user.
    content = loader.render_to_string(
        "events_app/unavailable.html",
        {"lines": lines, "retry_after": RETRY_AFTER, "may_repeat": request.method == "GET"},
    )
    response = HttpResponse(content, status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = str(RETRY_AFTER)
    response["Cache-Control"] = "no-store"
    return response
