"""The page in place of an error 500 while the database does not answer."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import OperationalError
from django.http import HttpRequest
from django.test import Client
from django.urls import path

from events_app.monitoring import health
from tests.support.databases import database_away

pytestmark = [
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
    pytest.mark.urls(__name__),
]

handler500 = "events_app.monitoring.unavailable.server_error"


def fail(_: HttpRequest) -> None:
    raise OperationalError("the password of ann@example.com")


def break_down(_: HttpRequest) -> None:
    raise ZeroDivisionError


urlpatterns = [path("admin/", admin.site.urls), path("fail", fail), path("break", break_down)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    health.latest.forget()
    yield
    health.latest.forget()


@pytest.fixture
def reader() -> Client:
    """The browser of a logged-in operator."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_a_page_that_needs_the_database_says_that_it_does_not_answer(reader: Client) -> None:
    with database_away("default"):
        answer = reader.get("/admin/")
    shown = answer.content.decode()
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert "<strong>error:</strong> The database does not answer. Start it" in shown
    assert '<meta http-equiv="refresh" content="10">' in shown
    assert reader.get("/admin/").status_code == 200


def test_a_post_is_not_repeated(reader: Client) -> None:
    with database_away("default"):
        answer = reader.post("/admin/")
    assert answer.status_code == 503
    assert "refresh" not in answer.content.decode()


def test_the_page_tells_no_text_of_the_error(reader: Client) -> None:
    with database_away("default"):
        shown = reader.get("/fail").content.decode()
    assert "ann@example.com" not in shown


@pytest.mark.parametrize("url", ["/break", "/fail"])
def test_a_fault_of_the_program_stays_an_error_while_the_database_answers(reader: Client, url: str) -> None:
    answer = reader.get(url)
    assert (answer.status_code, "Server Error" in answer.content.decode()) == (500, True)
