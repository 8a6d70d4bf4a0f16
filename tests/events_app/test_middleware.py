"""What a site answers in the webhook's place does not make SendGrid drop a mail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.test import AsyncClient, Client
from django.urls import include, path
from pytest_django import Settings

from events_app.shared import counters
from events_app.views import SendGridInboundWebhookView
from tests.support.events.webhook_requests import SECRET
from tests.support.inbound.storages import use_folder

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/anymail/sendgrid/inbound/"
HERE = f"{__name__}.answering"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> None:
    use_folder(settings, tmp_path)


def answering(get_response: GetResponse) -> GetResponse:
    """A middleware that answers itself, or raises, as the query says."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        raises = {"404": Http404, "403": PermissionDenied, "400": SuspiciousOperation}
        if request.GET.get("raise"):
            raise raises[request.GET["raise"]]
        if request.GET.get("around"):
            get_response(request)
        return HttpResponse("back soon", status=int(request.GET.get("status", 429)))

    return middleware


def post(url: str = URL, **headers: str) -> Any:
    return Client().generic("POST", url, b"a mail", "multipart/form-data", headers={**SECRET, **headers})


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "events_app.middleware"]


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_a_disallowed_host_becomes_503(caplog: pytest.LogCaptureFixture, url: str) -> None:
    kept = post(url, host="another.example.com")
    assert (kept.status_code, kept["Content-Type"]) == (503, "text/plain")
    assert kept.content == b"not taken, send again: this site answered 400 in the webhook's place\n"
    assert errors(caplog) == [
        "An inbound mail got 503, so that SendGrid retries, in place of "
        "400 from a middleware, before any view; is its host name in ALLOWED_HOSTS?"
    ]
    assert counters.read_counters() == {"webhook_posts inbound 503 site": 1}
    assert "django.request" not in {record.name for record in caplog.records}


def test_a_redirect_to_https_becomes_503(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert post(f"{URL}?token=secret").status_code == 503
    assert errors(caplog) == [
        "An inbound mail got 503, so that SendGrid retries, in place of "
        "301 to https://testserver/anymail/sendgrid/inbound/ from a middleware, before any view"
    ]


def test_a_redirect_to_the_trailing_slash_becomes_503(settings: Settings) -> None:
    webhook = SendGridInboundWebhookView.as_view()
    settings.ROOT_URLCONF = (path("mail/in/", webhook), path("mail/out/", lambda request: HttpResponse()))
    assert post("/mail/in").status_code == 503
    assert post("/mail/out").status_code == 301
    settings.APPEND_SLASH = False
    assert post("/mail/in").status_code == 503
    assert post("/mail/out").status_code == 404


@pytest.mark.parametrize("query", [f"status={status}" for status in (300, 302, 304, 400, 401, 413, 429, 499)])
def test_an_answer_of_a_middleware_that_loses_mail_becomes_503(settings: Settings, query: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, HERE]
    assert post(f"{URL}?{query}").status_code == 503
    assert post(f"{URL}?{query}&around=1").status_code == 503


@pytest.mark.parametrize("status", ["400", "403", "404"])
def test_an_error_of_a_middleware_becomes_503(settings: Settings, status: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, HERE]
    assert post(f"{URL}?raise={status}").status_code == 503


@pytest.mark.parametrize("status", [200, 204, 500, 502, 503])
def test_an_answer_that_loses_no_mail_is_left_alone(settings: Settings, status: int) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, HERE]
    left = post(f"{URL}?status={status}")
    assert (left.status_code, left.content) == (status, b"back soon" if status != 204 else left.content)


def test_a_login_redirect_around_the_webhook_view_becomes_503(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ROOT_URLCONF = (path("in", login_required(SendGridInboundWebhookView.as_view())),)
    assert post("/in?a=secret").status_code == 503
    assert errors(caplog) == [
        "An inbound mail got 503, so that SendGrid retries, in place of 302 to /accounts/login/ "
        "from around the webhook's view: a decorator or a middleware"
    ]


def test_a_subclass_of_the_view_in_another_urlconf_is_recognized(settings: Settings) -> None:
    class Mine(SendGridInboundWebhookView):
        pass

    def other_urls(get_response: GetResponse) -> GetResponse:
        def middleware(request: HttpRequest) -> HttpResponseBase:
            urls: Any = (path("deep/", include([path("in/", login_required(Mine.as_view()))])),)
            request.urlconf = urls
            return get_response(request)

        return middleware

    globals()["other_urls"] = other_urls
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.other_urls"]
    assert post("/deep/in/").status_code == 503
    del globals()["other_urls"]


def test_answers_of_the_webhook_view_are_left_alone(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert post().status_code == 200
    assert post(authorization="").status_code == 403
    assert errors(caplog) == []


@pytest.mark.parametrize(
    "url", ["/anymail/sendgrid/tracking/", "/admin/", "/nowhere", "/anymail/sendgrid/inbound/more/"]
)
def test_other_urls_are_left_alone(url: str) -> None:
    assert post(url, host="another.example.com").status_code == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_other_methods_are_left_alone(method: str) -> None:
    assert Client().generic(method, URL, headers={"host": "another.example.com"}).status_code == 400


def test_the_middleware_works_in_an_asynchronous_stack(settings: Settings) -> None:
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], "django.middleware.common.CommonMiddleware"]

    async def post_it(headers: dict[str, str]) -> Any:
        return await AsyncClient().generic("POST", URL, b"a mail", headers=headers)

    refused = async_to_sync(post_it)({"host": "another.example.com"})
    assert (refused.status_code, b"400 in the webhook's place" in refused.content) == (503, True)
    assert async_to_sync(post_it)(SECRET).status_code == 200
