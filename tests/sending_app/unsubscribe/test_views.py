"""The page asks, a post unsubscribes, and whoever did not mean that can undo it."""

import logging
import re
import time
from datetime import timedelta
from http import HTTPStatus
from unittest import mock

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from events_app.shared import own_events, redis
from sending_app.models import Suppression
from sending_app.unsubscribe import views
from tests.support.databases import database_away
from tests.support.sending.suppressions import suppress
from tests.support.sending.unsubscribe_links import MESSAGE_ID, KeptEvents, link, path_of, token_of

pytestmark = [
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
    pytest.mark.usefixtures("database"),
]

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def client() -> Client:
    """A browser, or a mail provider, without any cookie. The site checks posts of forms."""
    return Client(enforce_csrf_checks=True)


def is_suppressed(database: str, scope: str = "news") -> bool:
    rows = Suppression.objects.using(database).filter(address="ann@example.com", scope=scope, active=True)
    return rows.exists()


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_a_look_at_the_page_changes_nothing(client: Client, kept: KeptEvents, method: str) -> None:
    answer = getattr(client, method)(path_of())
    assert answer.status_code == HTTPStatus.OK
    assert kept.events == []


def test_the_page_asks_with_one_button_and_shows_no_address(client: Client) -> None:
    text = client.get(path_of()).content.decode()
    assert 'Stop mail of the kind “news” to <span class="address">a…@example.com</span>.' in text
    assert text.count("<button") == text.count("<form") == 1
    assert f'action="{path_of().rpartition("/")[0]}/' in text
    assert "ann@" not in text


@pytest.mark.parametrize("form", ["multipart", "urlencoded", "empty"])
def test_one_click_unsubscribes(client: Client, kept: KeptEvents, database: str, form: str) -> None:
    """Mail providers post without cookies, and in either encoding (RFC 8058, 3.1)."""
    match form:
        case "multipart":
            answer = client.post(path_of(), ONE_CLICK)
        case "urlencoded":
            answer = client.post(
                path_of(), "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded"
            )
        case _:
            answer = client.post(path_of(), b"", content_type="")
    assert answer.status_code == HTTPStatus.OK
    assert is_suppressed(database)
    (event,) = kept.events
    assert event.pop("timestamp") == pytest.approx(time.time(), abs=60)
    assert event.pop("sg_event_id").startswith("unsubscribe-")
    assert event == {
        "event": "group_unsubscribe",
        "email": "ann@example.com",
        "anymail_id": MESSAGE_ID,
        "unsubscribe_scope": "news",
        own_events.MARK: own_events.UNSUBSCRIBED,
    }


def test_further_clicks_keep_no_further_event(client: Client, kept: KeptEvents) -> None:
    for _ in range(3):
        assert "You are unsubscribed" in client.post(path_of(), ONE_CLICK).content.decode()
    assert kept.names == ["group_unsubscribe"]


def test_two_clicks_at_once_have_one_event(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find the state before the first: nothing has recorded the word yet."""
    ids: list[str] = []
    monkeypatch.setattr(
        own_events, "keep", lambda events: ids.append(events[0]["sg_event_id"]), raising=False
    )
    path = path_of()
    client.post(path, ONE_CLICK)
    client.post(path, ONE_CLICK)
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_the_id_of_an_event_does_not_let_anybody_check_an_address(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure leaves the ids of events and messages. The id of the message says which recipient."""
    ids: set[str] = set()
    monkeypatch.setattr(own_events, "keep", lambda events: ids.add(events[0]["sg_event_id"]), raising=False)
    for address in ("ann@example.com", "bob@example.com"):
        client.post(path_of(link(address)), ONE_CLICK)
    assert len(ids) == 1


def test_a_click_in_another_mail_of_the_stream_is_no_news(client: Client, kept: KeptEvents) -> None:
    client.post(path_of(), ONE_CLICK)
    client.post(
        path_of(link("ANN@example.com", message_id="b5bd1a5e-58bd-4d31-bf62-5dc2b2a4b3d3")), ONE_CLICK
    )
    assert len(kept.events) == 1


def test_streams_are_apart(client: Client, kept: KeptEvents, database: str) -> None:
    client.post(path_of(link(scope="news")), ONE_CLICK)
    client.post(path_of(link(scope="offers")), ONE_CLICK)
    assert len(kept.events) == 2
    client.post(f"{path_of(link(scope='news'))}/undo")
    assert (is_suppressed(database, "news"), is_suppressed(database, "offers")) == (False, True)


def test_whoever_did_not_mean_it_subscribes_again(client: Client, kept: KeptEvents, database: str) -> None:
    """Also within the same second, and as often as the limit allows."""
    path = path_of()
    for _ in range(3):
        page = client.post(path, ONE_CLICK).content.decode()
        assert is_suppressed(database)
        (undo,) = re.findall('action="([^"]+)"', page)
        again = client.post(undo).content.decode()
        assert not is_suppressed(database)
        assert re.findall('action="([^"]+)"', again) == [path]
    assert kept.names == ["group_unsubscribe", "group_resubscribe"] * 3
    assert len(set(kept.ids)) == 6
    assert [event["timestamp"] for event in kept.events] == sorted(
        {event["timestamp"] for event in kept.events}
    )


def test_an_undo_without_an_unsubscribe_keeps_no_event(client: Client, kept: KeptEvents) -> None:
    assert client.post(f"{path_of()}/undo").status_code == HTTPStatus.OK
    assert kept.events == []


def test_the_url_of_the_undo_can_be_opened_too(client: Client) -> None:
    path = path_of()
    assert f'action="{path}"' in client.get(f"{path}/undo").content.decode()


def test_an_unsubscribe_outlasts_a_suppression_for_a_time(
    client: Client, kept: KeptEvents, database: str
) -> None:
    until = timezone.now() + timedelta(days=1)
    suppress("ann@example.com", "unsubscribed", "news", until=until)
    client.post(path_of(), ONE_CLICK)
    assert Suppression.objects.using(database).get().until is None
    client.post(path_of(), ONE_CLICK)
    assert kept.names == ["group_unsubscribe"]


def test_a_suppression_for_a_time_that_is_over_counts_as_none(
    client: Client, kept: KeptEvents, database: str
) -> None:
    client.post(path_of(), ONE_CLICK)
    row = Suppression.objects.using(database).get()
    row.until = row.decided_at
    row.save(using=database)
    client.post(path_of(), ONE_CLICK)
    assert kept.names == ["group_unsubscribe"] * 2


@pytest.mark.parametrize("token", ["x", "gAAAAA", "ü", "a" * 5000])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_wrong_token_gets_a_plain_page(
    client: Client, kept: KeptEvents, token: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = getattr(client, method)(f"/mail/unsubscribe/{token}")
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "This link does not work" in answer.content.decode()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert f"/{token}" not in caplog.text
    assert kept.events == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_expired_link_gets_a_page_of_its_own(client: Client, kept: KeptEvents, method: str) -> None:
    path = path_of()
    with mock.patch.object(time, "time", return_value=time.time() + 400 * 86_400):
        answer = getattr(client, method)(path)
    assert answer.status_code == HTTPStatus.GONE
    assert "This link has expired" in answer.content.decode()
    assert kept.events == []


def test_expired_links_of_a_client_are_not_limited(client: Client) -> None:
    """A mail provider posts old links of thousands of people too."""
    path = path_of()
    with mock.patch.object(time, "time", return_value=time.time() + 400 * 86_400):
        answers = {client.post(path, ONE_CLICK).status_code for _ in range(views.MOST_WRONG + 1)}
    assert answers == {HTTPStatus.GONE}


def test_no_address_and_no_token_is_logged(
    client: Client, kept: KeptEvents, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = token_of()
    client.get(f"/mail/unsubscribe/{token}")
    client.post(f"/mail/unsubscribe/{token}", ONE_CLICK)
    client.post(f"/mail/unsubscribe/{token}/undo")
    client.get(f"/mail/unsubscribe/{token}x")
    client.put(f"/mail/unsubscribe/{token}")
    assert "example.com" not in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize("page", ["ask", "invalid"])
def test_a_page_has_a_policy_of_its_own_and_is_kept_nowhere(client: Client, page: str) -> None:
    answer = client.get(path_of() if page == "ask" else "/mail/unsubscribe/x")
    policy = answer["Content-Security-Policy"]
    (nonce,) = re.findall("'nonce-([^']+)'", policy)
    assert f'<style nonce="{nonce}">' in answer.content.decode()
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy + answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["X-Robots-Tag"] == "noindex"
    assert "Set-Cookie" not in answer
    assert re.findall("https?://", answer.content.decode()) == []


@pytest.mark.parametrize("undo", ["", "/undo"])
def test_without_the_database_a_post_is_to_come_again(client: Client, database: str, undo: str) -> None:
    with database_away(database):
        answer = client.post(f"{path_of()}{undo}", ONE_CLICK)
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer["Retry-After"] == "10"
    assert "Nothing has changed" in answer.content.decode()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # ATOMIC_REQUESTS of the default database
def test_without_the_database_the_page_asks_all_the_same(client: Client, database: str) -> None:
    """Also with ATOMIC_REQUESTS, for which Django opens a transaction before it calls a view."""
    with mock.patch.dict(connections[database].settings_dict, ATOMIC_REQUESTS=True), database_away(database):
        assert client.get(path_of()).status_code == HTTPStatus.OK


def test_wrong_tokens_of_a_client_are_limited_and_right_ones_are_not(
    client: Client, kept: KeptEvents
) -> None:
    for _ in range(views.MOST_WRONG):
        assert client.get("/mail/unsubscribe/x").status_code == HTTPStatus.BAD_REQUEST
    answer = client.get("/mail/unsubscribe/x")
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert answer["Retry-After"] == "60"
    assert client.get("/mail/unsubscribe/x", REMOTE_ADDR="192.0.2.1").status_code == HTTPStatus.BAD_REQUEST
    assert client.post(path_of(), ONE_CLICK).status_code == HTTPStatus.OK
    assert kept.names == ["group_unsubscribe"]


def test_the_undo_of_a_link_is_limited(client: Client, kept: KeptEvents, database: str) -> None:
    path = path_of()
    for _ in range(views.MOST_UNDONE):
        client.post(path, ONE_CLICK)
        assert client.post(f"{path}/undo").status_code == HTTPStatus.OK
    client.post(path, ONE_CLICK)
    answer = client.post(f"{path}/undo")
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert answer["Retry-After"] == "3600"
    assert is_suppressed(database)
    assert client.post(f"{path_of()}/undo").status_code == HTTPStatus.OK  # of another mail


def test_a_limit_ends_by_itself(client: Client) -> None:
    client.get("/mail/unsubscribe/x")
    (key,) = redis.for_workers().keys(redis.key("unsubscribe:wrong:*"))
    assert 0 < redis.for_workers().ttl(key) <= 60


def test_without_redis_nothing_is_limited(
    client: Client, kept: KeptEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def connect() -> Redis:
        tried.append("once")
        raise RedisConnectionError

    monkeypatch.setattr(redis, "for_webhooks", connect)
    for _ in range(views.MOST_WRONG + 2):
        assert client.get("/mail/unsubscribe/x").status_code == HTTPStatus.BAD_REQUEST
    path = path_of()
    client.post(path, ONE_CLICK)
    client.post(f"{path}/undo")
    assert kept.names == ["group_unsubscribe", "group_resubscribe"]
    assert tried == ["once"]  # the circuit breaker is open


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    answer = getattr(client, method)(path_of())
    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert answer["Allow"] == "GET, HEAD, POST, OPTIONS"
