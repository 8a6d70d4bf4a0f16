"""Faults of the API of webhook settings: each has a sentence that says what happened and what to do."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from fake_sendgrid import responses
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from tests.support.http_server import Request, Serve, response
from tests.support.sending.webhook_settings import run
from tests.support.sending.webhook_site import WebhookSite

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

URL = "http://127.0.0.1/anymail/sendgrid/tracking/"


@pytest.fixture(autouse=True)
def no_password(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_SECRET=None)


def failure(*command: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*command)
    return str(caught.value)


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        (responses.error(400, Fault("no such plan", None)), "SendGrid answered 400: no such plan"),
        (responses.error(401), "does not know the API key of the account 'default'"),
        (responses.error(404), "Somebody may have deleted it meanwhile"),
        (responses.rate_limited(30), "changed nothing. Run the same command again in"),
        (responses.server_error(503), "may have made the change or not. Run the same command again"),
        (responses.html_page(504), "a page of HTML"),
        (responses.close_connection(), "It may have made the change or not. Run the same command again"),
        (ApiResponse(status=201, body=b"<html>"), "but not with JSON. Is SENDGRID_API_URL right?"),
        (responses.json_response(201, {}), "without the id of the new webhook"),
        (responses.json_response(201, []), "without the id of the new webhook"),
    ],
)
def test_a_refused_or_unanswered_write_says_whether_it_was_made(
    sendgrid: FakeSendGrid, planned: ApiResponse, words: str
) -> None:
    sendgrid.settings_api.plan(1, planned)
    assert words in failure("setup", "--url", URL, "--apply")


def test_a_key_without_rights_names_the_missing_scopes(sendgrid: FakeSendGrid) -> None:
    sendgrid.settings_api.plan(1, responses.error(403, Fault("access forbidden", None)))
    said = failure("setup", "--url", URL, "--apply")
    assert "403: access forbidden" in said
    assert "user.webhooks.event.settings.create" in said


def test_a_url_that_another_webhook_has_is_named_without_its_password(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    other = sendgrid.event_webhooks.create({"url": f"{URL}?a=1"}, with_status_change=False)
    anymail(WEBHOOK_SECRET="u:a-password-of-tests")
    run("setup", "--url", URL, "--basic-auth", "--apply")
    sendgrid.event_webhooks.change(
        other["id"],
        {"url": "http://u:a-password-of-tests@localhost/anymail/sendgrid/tracking/"},
        with_status_change=False,
    )
    moved = URL.replace("127.0.0.1", "localhost")
    said = failure("update", "--url", URL, "--new-url", moved, "--basic-auth", "--apply")
    assert f"The other one: webhook {other['id']}, http://***@localhost/anymail/sendgrid/tracking/" in said
    assert "a-password" not in said


def test_a_full_plan_lists_the_webhooks(sendgrid: FakeSendGrid) -> None:
    sendgrid.event_webhooks.max_allowed = 1
    other = sendgrid.event_webhooks.create({"url": "https://u:p@a.example/"}, with_status_change=False)
    said = failure("setup", "--url", URL)
    assert f"{other['id']}  https://***@a.example/  disabled" in said


def test_a_full_plan_that_only_the_answer_tells_lists_the_webhooks_too(sendgrid: FakeSendGrid) -> None:
    fault = Fault("maximum number of webhooks reached for your plan", None)
    sendgrid.settings_api.plan(1, responses.error(400, fault))
    assert "allows no further webhook (5)" in failure("setup", "--url", URL, "--apply")


def test_a_wrong_api_key_is_named_by_its_account(sendgrid: FakeSendGrid) -> None:
    sendgrid.keys = frozenset({"SG.other"})
    assert "does not know the API key of the account 'default'" in failure("list")


def test_an_account_is_chosen_by_name(sendgrid: FakeSendGrid, anymail: Callable[..., None]) -> None:
    sendgrid.keys = frozenset({"SG.news"})
    anymail(SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news", "api_url": sendgrid.url}})
    assert "Event Webhooks: 0" in run("list", "--account", "news")
    assert "no mailer 'letters'" in failure("list", "--account", "letters")


def test_without_sendgrid_a_read_says_that_nothing_was_changed(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL="http://127.0.0.1:1/v3/")
    said = failure("setup", "--url", URL, "--apply")
    assert "SendGrid did not answer: ConnectionRefusedError" in said
    assert "Nothing was changed by this call." in said


def test_a_list_that_is_not_there_is_a_wrong_url(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=f"{sendgrid.url}v3/")
    assert "Is SENDGRID_API_URL right?" in failure("list")


def test_a_key_that_no_header_can_have_is_not_shown(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.a\nb", SENDGRID_API_URL="http://127.0.0.1:1/v3/")
    assert failure("list") == "The API key has characters that no key has: a line break?"


def test_a_test_run_asks_no_sendgrid(anymail: Callable[..., None]) -> None:
    anymail(EAGER_IN_TESTS=True)
    assert "This is a test run" in failure("list")


def sequence(*objects: object) -> Any:
    """A server with these answers to GETs in order; the last one for ever. It may not answer the others."""

    def behave(peer: Any, requests: list[Request]) -> None:
        while found := peer.head():
            peer.read(int(found.headers.get("content-length", 0)))
            requests.append(found)
            answer = objects[min(len(requests), len(objects)) - 1]
            peer.say(response(200, json.dumps(answer).encode()))

    return behave


NO_HOSTS = {"result": None}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"max_allowed": None, "webhooks": [{}]}, "Event Webhooks: 0"),
        ({"webhooks": None}, "Event Webhooks: 0"),
        ([], "Event Webhooks: 0"),
        (
            {"max_allowed": 5, "webhooks": [None, {"id": "a"}, {"url": "https://a.example/"}]},
            "Event Webhooks: 0",
        ),
        (
            {
                "max_allowed": 5.0,
                "webhooks": [
                    {
                        "id": 7,
                        "url": "https://a.example/",
                        "enabled": None,
                        "friendly_name": None,
                        "public_key": None,
                        "created_at": 1,
                        "updated_at": "no date",
                        "oauth_client_id": None,
                    }
                ],
            },
            "Event Webhooks: 1 of at most 5",
        ),
    ],
)
def test_answers_that_are_not_as_documented_are_read(
    serve: Serve, anymail: Callable[..., None], answer: object, words: str
) -> None:
    server = serve(sequence(answer, NO_HOSTS))
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=server.url)
    assert words in run("list")


def test_a_list_shows_the_part_that_the_key_may_read(serve: Serve, anymail: Callable[..., None]) -> None:
    def behave(peer: Any, requests: list[Request]) -> None:
        while found := peer.head():
            if "/event/" in found.line:
                peer.say(response(200, b'{"max_allowed": 1, "webhooks": [{}]}'))
            else:
                peer.say(response(403, b'{"errors": [{"message": "access forbidden", "field": null}]}'))

    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=serve(behave).url)
    out = StringIO()
    call_command("sendgrid_webhooks", "list", "--json", stdout=out, stderr=StringIO())
    assert json.loads(out.getvalue())["inbound_parse"] is None
    shown = run("list")
    assert "Event Webhooks: 0 of at most 1" in shown
    assert "WARNING: SendGrid answered 403" in shown
    assert "lacks the scope user.webhooks.parse.settings.read" in shown


def test_no_output_has_the_api_key(sendgrid: FakeSendGrid, site: WebhookSite) -> None:
    shown = run("setup", "--url", site.url) + run("setup", "--url", site.url, "--apply") + run("list")
    assert "SG.fake" not in shown
