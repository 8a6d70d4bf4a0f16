"""The API of webhook settings: Event Webhooks, and host names of Inbound Parse with their policies."""

import json
from email.message import EmailMessage
from typing import Any

import requests

from events_app.views.signature import verify
from fake_sendgrid import integration_test, responses
from fake_sendgrid.http_server import Request
from fake_sendgrid.server import FakeSendGrid
from tests.support.fake_sendgrid.api_requests import HEADERS, mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver

SETTINGS = "event/settings"
ALL = "event/settings/all?include=account_status_change"


def call(fake: FakeSendGrid, method: str, path: str, body: object = None) -> requests.Response:
    url = f"{fake.url}user/webhooks/{path}"
    return requests.request(method, url, data=json.dumps(body or {}), headers=HEADERS, timeout=PATIENCE)


def error(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["message"]


def create(fake: FakeSendGrid, url: str, **settings: object) -> dict[str, Any]:
    answer = call(fake, "POST", SETTINGS, {"url": url, **settings})
    assert answer.status_code == 201
    webhook: dict[str, Any] = answer.json()
    return webhook


def is_signed_by(key: str, request: Request) -> bool:
    signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
    timestamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
    return verify([key], timestamp=timestamp, signature=signature, body=request.body)


def test_a_webhook_is_created_read_changed_and_deleted(fake: FakeSendGrid) -> None:
    assert call(fake, "GET", ALL).json() == {"max_allowed": 5, "webhooks": [{}]}
    webhook = create(fake, "https://a.example/", bounce=True, oauth_client_id="me", oauth_client_secret="x")
    path = f"{SETTINGS}/{webhook['id']}"
    assert webhook["bounce"] is True
    assert (webhook["enabled"], webhook["open"]) == (False, False)
    assert "oauth_client_secret" not in webhook
    assert call(fake, "GET", path).json() == webhook
    changed = call(fake, "PATCH", path, {"url": "https://b.example/", "open": True}).json()
    assert (changed["url"], changed["open"], changed["bounce"]) == ("https://b.example/", True, False)
    assert call(fake, "GET", SETTINGS).json()["id"] == webhook["id"]
    assert call(fake, "DELETE", SETTINGS).status_code == 405
    assert call(fake, "DELETE", path).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert error(call(fake, method, path)) == (404, "invalid id provided")


def test_the_switch_for_changes_of_the_account_needs_the_query(fake: FakeSendGrid) -> None:
    create(fake, "https://a.example/", account_status_change=True)
    (webhook,) = call(fake, "GET", ALL).json()["webhooks"]
    assert webhook["account_status_change"] is False
    assert "account_status_change" not in call(fake, "GET", f"{SETTINGS}/all").json()["webhooks"][0]


def test_unusable_settings_are_refused(fake: FakeSendGrid) -> None:
    assert error(call(fake, "POST", SETTINGS, {"url": "ftp://a.example/"})) == (400, "not a valid url")
    assert error(call(fake, "POST", SETTINGS)) == (400, "not a valid url")
    assert call(fake, "POST", SETTINGS, {"url": "https://a.example/", "open": "yes"}).status_code == 400
    webhook = create(fake, "https://a.example/")
    answer = call(fake, "POST", SETTINGS, {"url": "https://a.example/"})
    assert "already exists" in error(answer)[1]
    assert answer.json()["errors"][0]["id"] == webhook["id"]
    fake.event_webhooks.max_allowed = 1
    assert "maximum" in error(call(fake, "POST", SETTINGS, {"url": "https://b.example/"}))[1]
    assert call(fake, "POST", f"{SETTINGS}/all").status_code == 405
    assert call(fake, "GET", "nothing").status_code == 404


def test_each_webhook_signs_with_its_own_key_and_gets_its_events(
    fake: FakeSendGrid, webhook: WebhookReceiver
) -> None:
    with WebhookReceiver() as other:
        first = create(fake, webhook.url, enabled=True, processed=True, delivered=True, open=True)
        create(fake, other.url, enabled=True, open=True)
        create(fake, "https://off.example/", open=True)
        key = call(fake, "PATCH", f"{SETTINGS}/signed/{first['id']}", {"enabled": True}).json()["public_key"]
        assert call(fake, "GET", f"{SETTINGS}/{first['id']}").json()["public_key"] == key
        post_mail(fake.url, mail_body("open@example.com"))
        fake.wait_until_posted(PATIENCE)
        assert webhook.names == {"processed": 1, "delivered": 1, "open": 1}
        assert other.names == {"open": 1}
        assert webhook.events[-1] == other.events[-1]
        assert all(is_signed_by(key, request) for request in webhook.requests)
        assert "X-Twilio-Email-Event-Webhook-Signature" not in other.requests[0].headers

        off = call(fake, "PATCH", f"{SETTINGS}/signed/{first['id']}", {"enabled": False}).json()
        assert off == {"id": first["id"], "public_key": ""}
        new = call(fake, "PATCH", f"{SETTINGS}/signed/{first['id']}", {"enabled": True}).json()["public_key"]
        assert new not in ("", key)


def test_without_an_enabled_webhook_events_are_never_posted(
    fake: FakeSendGrid, webhook: WebhookReceiver
) -> None:
    created = create(fake, webhook.url, processed=True)
    post_mail(fake.url)
    call(
        fake, "PATCH", f"{SETTINGS}/{created['id']}", {"url": webhook.url, "enabled": True, "processed": True}
    )
    (mail,) = fake.accepted
    fake.fire("processed", mail, "ada@example.com")
    fake.wait_until_posted(PATIENCE)
    assert webhook.names == {"processed": 1}


def test_the_test_posts_eleven_events_signed_by_the_webhook(
    fake: FakeSendGrid, webhook: WebhookReceiver
) -> None:
    created = create(fake, webhook.url)
    key = call(fake, "PATCH", f"{SETTINGS}/signed/{created['id']}", {"enabled": True}).json()["public_key"]
    # The password is lost on the way, as at SendGrid.
    url = webhook.url.replace("//", "//u:p@")
    assert call(fake, "POST", "event/test", {"url": url, "id": created["id"]}).status_code == 204
    assert webhook.came.wait(PATIENCE)
    (request,) = webhook.requests
    assert "Authorization" not in request.headers
    assert is_signed_by(key, request)
    events = json.loads(request.body)
    assert [event["event"] for event in events] == [
        *("processed", "deferred", "delivered", "open", "click", "bounce", "dropped", "spamreport"),
        *("unsubscribe", "group_unsubscribe", "group_resubscribe"),
    ]
    assert {event["email"] for event in events} == {integration_test.ADDRESS}
    assert {event["sg_message_id"] for event in events} == {integration_test.MESSAGE_ID}
    assert len({event["sg_event_id"] for event in events}) == 11
    assert error(call(fake, "POST", "event/test", {"url": url, "id": "x"})) == (404, "invalid id provided")


def test_planned_answers_are_given_to_writes_alone(fake: FakeSendGrid) -> None:
    fake.settings_api.plan(1, responses.accept_and_respond(503))
    fake.settings_api.plan(2, responses.server_error())
    call(fake, "GET", ALL)
    assert call(fake, "POST", SETTINGS, {"url": "https://a.example/"}).status_code == 503
    assert call(fake, "POST", SETTINGS, {"url": "https://b.example/"}).status_code == 500
    assert [webhook["url"] for webhook in call(fake, "GET", ALL).json()["webhooks"]] == ["https://a.example/"]
    assert [one.status for one in fake.settings_api.calls] == [200, 503, 500, 200]


def test_a_key_is_needed(fake: FakeSendGrid) -> None:
    fake.keys = frozenset({"SG.other"})
    assert call(fake, "GET", ALL).status_code == 401


def test_reset_removes_what_the_api_has_made(fake: FakeSendGrid) -> None:
    create(fake, "https://a.example/")
    call(fake, "POST", "parse/settings", {"url": "https://a.example/", "hostname": "in.example.com"})
    fake.reset()
    assert call(fake, "GET", ALL).json()["webhooks"] == [{}]
    assert call(fake, "GET", "parse/settings").json() == {"result": []}


def test_the_mail_to_a_host_name_is_posted_as_its_policy_says(
    fake: FakeSendGrid, webhook: WebhookReceiver
) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = "ann@example.org", "shop@in.example.com"
    setting = {"url": webhook.url, "hostname": "in.example.com", "send_raw": True, "spam_check": False}
    assert call(fake, "POST", "parse/settings", setting).json() == setting
    assert call(fake, "POST", "parse/settings", setting).status_code == 400
    assert fake.receive(mail).wait(PATIENCE) == 200
    assert "X-Twilio-Email-Event-Webhook-Signature" not in webhook.requests[-1].headers

    policy = call(fake, "POST", "security/policies", {"name": "n", "signature": {"enabled": True}}).json()[
        "policy"
    ]
    path = "parse/settings/in.example.com"
    attached = call(fake, "PATCH", path, {**setting, "security_policy": policy["id"]})
    assert attached.json()["security_policy"] == policy["id"]
    assert fake.receive(mail).wait(PATIENCE) == 200
    assert is_signed_by(policy["signature"]["public_key"], webhook.requests[-1])

    assert call(fake, "DELETE", f"security/policies/{policy['id']}").status_code == 400
    call(fake, "PATCH", path, setting)
    assert call(fake, "DELETE", f"security/policies/{policy['id']}").status_code == 200
    assert call(fake, "DELETE", path).status_code == 204
    assert call(fake, "GET", path).status_code == 404
    assert call(fake, "GET", "parse/stats").json() == []


def test_a_policy_needs_a_signature_or_oauth(fake: FakeSendGrid) -> None:
    assert call(fake, "POST", "security/policies", {"name": "n"}).status_code == 400
    oauth = {"client_id": "me", "client_secret": "x", "token_url": "https://a.example/token"}
    policy = call(fake, "POST", "security/policies", {"name": "n", "oauth": oauth}).json()["policy"]
    assert policy["oauth"] == {"client_id": "me", "token_url": "https://a.example/token"}
    path = f"security/policies/{policy['id']}"
    changed = call(fake, "PATCH", path, {"name": "m", "signature": {"enabled": True}})
    assert "signature" not in changed.json()["policy"]
    assert call(fake, "GET", path).json()["policy"]["signature"]["public_key"]
    assert call(fake, "GET", "security/policies").json()["policies"][0]["name"] == "m"
    assert call(fake, "GET", "security/policies/x").status_code == 404
