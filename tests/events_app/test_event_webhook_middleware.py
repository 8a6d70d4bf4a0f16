"""A post of events passes none of the site's middleware; every other request does."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django import Settings

from events_app import stream
from events_app.views import SendGridTrackingWebhookView
from tests.support.events.webhook_requests import BODY, SECRET

URL = "/anymail/sendgrid/tracking/"
HERE = "events_app.middleware.AnswerEventWebhook"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def refusing(get_response: GetResponse) -> GetResponse:
    """A middleware that lets no request pass."""
    return lambda request: HttpResponse(status=429)


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.MIDDLEWARE = [HERE, f"{__name__}.refusing"]


def post(url: str = URL, content_type: str = "application/json;charset=utf-8", **headers: str) -> Any:
    return Client().generic("POST", url, BODY, content_type, headers={**SECRET, **headers})


@pytest.mark.parametrize("url", [URL, URL.removesuffix("/")])
def test_a_post_of_events_meets_no_middleware(url: str) -> None:
    answered = post(url)
    assert (answered.status_code, answered["Content-Length"]) == (200, "0")
    assert stream.backlog() == 3


def test_the_webhook_refuses_a_post_itself() -> None:
    refused = post(Authorization="")
    assert refused.content == b"basic auth is missing or wrong\n"
    assert (refused.status_code, refused["Content-Length"]) == (403, str(len(refused.content)))


def test_a_project_may_have_a_webhook_of_its_own_at_its_own_url(settings: Settings) -> None:
    class Mine(SendGridTrackingWebhookView):
        pass

    settings.ROOT_URLCONF = (path("hooks/<name>", lambda request, name: Mine.as_view()(request)),)
    assert post("/hooks/shop").status_code == 429
    settings.ROOT_URLCONF = (path("hooks/shop", Mine.as_view()),)
    assert post("/hooks/shop").status_code == 200


def test_a_post_to_another_host_is_refused(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    assert post(host="other.example.com").status_code == 400
    assert stream.backlog() == 0
    assert post(host="shop.example.com").status_code == 200


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", URL),
        ("HEAD", URL),
        ("POST", "/anymail/sendgrid/inbound/"),
        ("POST", "/none/"),
        ("GET", "/admin/"),
    ],
)
def test_any_other_request_passes_the_middleware(method: str, url: str) -> None:
    passed = Client().generic(method, url, BODY, "application/json", headers=SECRET)
    assert passed.status_code == 429


def test_a_post_of_another_content_type_passes_the_middleware(settings: Settings) -> None:
    assert post(content_type="text/plain").status_code == 429
    settings.MIDDLEWARE = [HERE]
    assert post(content_type="text/plain").status_code == 200


def test_a_post_under_asgi_meets_no_middleware() -> None:
    post_it = async_to_sync(AsyncClient().post)
    assert post_it(URL, BODY, content_type="application/json", headers=SECRET).status_code == 200
