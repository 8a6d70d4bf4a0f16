"""The double gets a token, keeps it, posts with it, and gets a new one when an answer asks for one."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from fake_sendgrid import http_server
from fake_sendgrid.oauth import AccessTokens, NoToken, OAuthClient
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE

FORM = "multipart/form-data; boundary=x"


class Site:
    """A token URL that numbers its tokens, and a webhook that takes the tokens in `good`."""

    def __init__(self) -> None:
        self.token_requests: list[http_server.Request] = []
        self.posts: list[str | None] = []
        self.good: set[str] = {"token-1"}
        self.expires_in: object = 3600
        self.refusal = http_server.Response(401, {}, b"invalid_token")
        self._server = http_server.HttpServer(self._respond)
        self._server.open()
        self.url = f"http://127.0.0.1:{self._server.port}"

    def client(self, **changed: Any) -> OAuthClient:
        return OAuthClient("an id", "a secret", f"{self.url}/token", **changed)

    def close(self) -> None:
        self._server.close()

    def _respond(self, request: http_server.Request) -> http_server.Response:
        if request.path == "/token":
            self.token_requests.append(request)
            token: dict[str, Any] = {"access_token": f"token-{len(self.token_requests)}"}
            body = json.dumps(token | {"expires_in": self.expires_in})
            return http_server.Response(200, {}, body.encode())
        authorization = request.headers.get("Authorization", "")
        self.posts.append(authorization or None)
        is_good = authorization.removeprefix("Bearer ") in self.good
        return http_server.Response(200, {}, b"") if is_good else self.refusal


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def sender(client: OAuthClient | None) -> WebhookSender:
    sender = WebhookSender()
    sender.authorize(client)
    return sender


def test_the_token_is_fetched_once_and_sent_with_each_post(site: Site) -> None:
    posting = sender(site.client())
    assert [posting.post(site.url, event_batch([])).status_code for _ in range(3)] == [200, 200, 200]
    assert site.posts == ["Bearer token-1"] * 3
    assert len(site.token_requests) == 1


def test_the_secret_is_in_a_header_or_in_the_body(site: Site) -> None:
    site.good = {"token-1", "token-2"}
    for in_header in (True, False):
        sender(site.client(in_header=in_header, scopes=("tracking",))).post(site.url, event_batch([]))
    header, body = site.token_requests
    pair = base64.b64encode(b"an+id:a+secret").decode()
    assert header.headers["Authorization"] == f"Basic {pair}"
    assert parse_qs(header.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["tracking"]}
    assert "Authorization" not in body.headers
    assert parse_qs(body.body.decode())["client_secret"] == ["a secret"]


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("code", ["invalid_request", "invalid_token", "insufficient_scope"])
def test_an_answer_that_asks_for_it_gets_a_new_token(site: Site, status: int, code: str) -> None:
    site.good = {"token-2"}
    site.refusal = http_server.Response(status, {}, f"{code}: no".encode())
    assert sender(site.client()).post(site.url, event_batch([])).status_code == 200
    assert site.posts == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(("status", "body"), [(401, b"no"), (503, b"invalid_token"), (500, b"")])
def test_after_another_answer_the_token_is_kept(site: Site, status: int, body: bytes) -> None:
    site.good, site.refusal = set(), http_server.Response(status, {}, body)
    posting = sender(site.client())
    assert [posting.post(site.url, event_batch([])).status_code for _ in range(2)] == [status, status]
    assert site.posts == ["Bearer token-1", "Bearer token-1"]


def test_a_mail_is_not_posted_again_for_a_new_token(site: Site) -> None:
    site.good = {"token-2"}
    assert sender(site.client()).post(site.url, b"", content_type=FORM).status_code == 401
    assert len(site.token_requests) == 1


def test_a_token_is_renewed_when_it_ends(site: Site) -> None:
    site.expires_in, site.good = 0, {"token-1", "token-2"}
    posting = sender(site.client())
    assert [posting.post(site.url, b"", content_type=FORM).status_code for _ in range(2)] == [200, 200]
    assert site.posts == ["Bearer token-1", "Bearer token-2"]


def test_another_client_gets_a_token_of_its_own_and_the_same_client_keeps_its_token(site: Site) -> None:
    posting = sender(site.client())
    tokens = posting.tokens
    posting.authorize(site.client())
    assert posting.tokens is tokens
    posting.authorize(site.client(scopes=("inbound",)))
    assert posting.tokens is not tokens
    posting.authorize(None)
    assert posting.post(site.url, event_batch([])).status_code == 401
    assert site.posts == [None]


@pytest.mark.parametrize("expires_in", ["soon", None, []])
def test_a_url_that_gives_no_token_raises(site: Site, expires_in: object) -> None:
    site.expires_in = expires_in
    with requests.Session() as session, pytest.raises(NoToken, match="without a token"):
        AccessTokens(site.client()).get(session)


def test_the_settings_api_sets_the_client_of_a_webhook(site: Site) -> None:
    with FakeSendGrid() as fake:
        settings: dict[str, Any] = {
            "url": f"{site.url}/events",
            "enabled": True,
            "processed": True,
            "oauth_client_id": "an id",
            "oauth_client_secret": "a secret",
            "oauth_token_url": f"{site.url}/token",
        }
        webhook = fake.event_webhooks.create(settings, with_status_change=False)
        post_mail(fake.url, mail_body())
        fake.event_webhooks.wait_until_posted(PATIENCE)
        assert site.posts == ["Bearer token-1"]
        site.good = {"token-2"}  # the token ends early
        post_mail(fake.url, mail_body())
        fake.event_webhooks.wait_until_posted(PATIENCE)
        assert site.posts[1:] == ["Bearer token-1", "Bearer token-2"]
        off = dict.fromkeys(("oauth_client_id", "oauth_client_secret", "oauth_token_url"), "")
        fake.event_webhooks.change(webhook["id"], settings | off, with_status_change=False)
        site.good = {""}
        post_mail(fake.url, mail_body())
        fake.event_webhooks.wait_until_posted(PATIENCE)
        assert site.posts[-1] is None
