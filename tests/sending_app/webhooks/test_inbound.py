"""`manage.py sendgrid_webhooks --hostname`: Inbound Parse set up and its key changed, without a lost mail."""

import json
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from django.core.management import CommandError

from events_app.models import InboundMail
from fake_sendgrid import responses
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.server import FakeSendGrid
from tests.support.sending.webhook_settings import FAULTS, run, run_until_done
from tests.support.sending.webhook_site import WebhookSite

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

HOST = "parse.example.com"

SECRET = "sendgrid:a-secret-for-tests-only"

#: Seconds.
PATIENCE = 30

DeployInbound = Callable[..., None]


@pytest.fixture
def deploy(anymail: Callable[..., None]) -> DeployInbound:
    return lambda *keys: anymail(SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=list(keys))


def policies(sendgrid: FakeSendGrid) -> dict[str, str]:
    """The keys of the security policies at SendGrid, by their names."""
    return {
        policy["name"]: policy["signature"]["public_key"]
        for policy in sendgrid.parse_settings.policies()["policies"]
    }


def attached(sendgrid: FakeSendGrid) -> str:
    """The name of the policy of the host name; empty without."""
    by_id = {policy["id"]: policy["name"] for policy in sendgrid.parse_settings.policies()["policies"]}
    return str(by_id.get(sendgrid.parse_settings.get(HOST).get("security_policy"), ""))


def receive(sendgrid: FakeSendGrid) -> int:
    """Let a mail to the host name come; return the last answer of the webhook."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", f"shop@{HOST}", "Hello"
    mail.set_content("Hello!")
    return sendgrid.receive(mail).wait(PATIENCE)


def test_a_new_host_name_gets_mail_only_after_the_server_has_the_key(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound
) -> None:
    command = ("setup", "--hostname", HOST, "--url", site.inbound_url, "--spam-check")
    assert "Would create the security policy 'parse.example.com, key 1'" in run(*command)
    assert not policies(sendgrid)
    created = run(*command, "--apply")
    key = policies(sendgrid)[f"{HOST}, key 1"]
    assert f"SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY={key}\n" in created
    assert sendgrid.parse_settings.all() == {"result": []}
    run(*command, "--apply")
    assert len(policies(sendgrid)) == 1

    deploy(key)
    assert "Would let the mail to parse.example.com be posted" in run(*command)
    run(*command, "--apply")

    setting = sendgrid.parse_settings.get(HOST)
    assert (setting["url"], setting["send_raw"], setting["spam_check"]) == (site.inbound_url, True, True)
    assert attached(sendgrid) == f"{HOST}, key 1"
    assert receive(sendgrid) == 200
    assert InboundMail.objects.count() == 1
    assert run(*command, "--apply").count("Done") == 0
    assert "yes, its key is here" in run("list")
    (listed,) = json.loads(run("list", "--json"))["inbound_parse"]
    assert (listed["hostname"], listed["ours"], listed["key_is_here"]) == (HOST, True, True)


def test_posts_of_a_connected_host_name_are_signed_before_the_server_has_the_key(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound, anymail: Callable[..., None]
) -> None:
    """Without a key the webhook checks the password alone."""
    anymail(WEBHOOK_SECRET=SECRET)
    url = site.inbound_url.replace("//", f"//{SECRET}@")
    sendgrid.parse_settings.create({"hostname": HOST, "url": url, "send_raw": True})
    assert receive(sendgrid) == 200
    shown = run("setup", "--hostname", HOST, "--url", site.inbound_url, "--apply")
    assert attached(sendgrid) == f"{HOST}, key 1"
    assert sendgrid.parse_settings.get(HOST)["url"] == url
    assert "a-secret" not in shown + run("list")
    assert receive(sendgrid) == 200
    deploy(*policies(sendgrid).values())
    assert receive(sendgrid) == 200
    assert site.statuses == {200: 3}


def test_a_server_with_another_key_gets_the_key_first(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound
) -> None:
    sendgrid.parse_settings.create({"hostname": HOST, "url": site.inbound_url})
    deploy("the key of another host name")
    shown = run("setup", "--hostname", HOST, "--url", site.inbound_url, "--apply")
    assert not attached(sendgrid)
    assert "KEY=the key of another host name,MFkw" in shown
    deploy(*policies(sendgrid).values())
    run("setup", "--hostname", HOST, "--url", site.inbound_url, "--apply")
    assert attached(sendgrid)


@pytest.mark.parametrize("key", [None, "the key of another host name"])
def test_a_password_gives_way_to_oauth_without_a_lost_mail(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound, anymail: Callable[..., None], key: str
) -> None:
    """A post with neither a password, a token nor a signature gets 403, and SendGrid drops the mail."""
    anymail(WEBHOOK_SECRET=SECRET, WEBHOOK_OAUTH_CLIENTS="new:a-secret-of-a-client")
    url = site.inbound_url.replace("//", f"//{SECRET}@")
    sendgrid.parse_settings.create({"hostname": HOST, "url": url, "send_raw": True})
    if key:
        deploy(key)
    token_url = site.url.replace("tracking", "token")
    command = ("setup", "--hostname", HOST, "--url", site.inbound_url, "--oauth", "--token-url", token_url)

    run(*command, "--apply")
    setting = sendgrid.parse_settings.get(HOST)
    assert bool(attached(sendgrid)) is (key is None)
    assert (SECRET in setting["url"]) is (key is not None)
    deploy(*policies(sendgrid).values())
    run(*command, "--apply")

    assert sendgrid.parse_settings.get(HOST)["url"] == site.inbound_url
    writes = [call for call in sendgrid.settings_api.calls if call.writes and call.path.endswith(HOST)]
    assert all(call.body.get("security_policy") or "@" in call.body["url"] for call in writes)
    assert receive(sendgrid) == 200


def test_a_policy_that_only_gives_tokens_is_replaced_by_one_that_also_signs(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound, anymail: Callable[..., None]
) -> None:
    client = {"client_id": "sendgrid", "client_secret": "a-secret-of-a-client"}
    client["token_url"] = site.url.replace("tracking", "token")
    anymail(WEBHOOK_OAUTH_CLIENTS="sendgrid:a-secret-of-a-client")
    policy = sendgrid.parse_settings.create_policy(
        {"name": "inbound", "oauth": {**client, "scopes": ["inbound"]}}
    )["policy"]
    sendgrid.parse_settings.create({"hostname": HOST, "url": site.inbound_url})
    sendgrid.parse_settings.change(HOST, {"url": site.inbound_url, "security_policy": policy["id"]})
    run("setup", "--hostname", HOST, "--url", site.inbound_url, "--apply")
    assert attached(sendgrid) == f"{HOST}, key 1"
    assert sendgrid.parse_settings.policies()["policies"][1]["oauth"]["client_id"] == "sendgrid"
    assert receive(sendgrid) == 200


def test_a_missing_password_or_a_foreign_option_is_refused(
    sendgrid: FakeSendGrid, site: WebhookSite, anymail: Callable[..., None]
) -> None:
    for options, words in (
        (("--events", "bounce"), "belong to an Event Webhook"),
        (("--name", "x"), "belong to an Event Webhook"),
    ):
        with pytest.raises(CommandError, match=words):
            run("setup", "--hostname", HOST, "--url", site.inbound_url, *options)
    with pytest.raises(CommandError, match="add --hostname"):
        run("setup", "--url", site.url, "--spam-check")
    with pytest.raises(CommandError, match="no inbound webhook at"):
        run("setup", "--hostname", HOST, "--url", site.url)
    anymail(WEBHOOK_SECRET=SECRET)
    with pytest.raises(CommandError, match="Add --basic-auth"):
        run("setup", "--hostname", HOST, "--url", site.inbound_url)
    assert not [call for call in sendgrid.settings_api.calls if call.writes]


def test_a_second_policy_changes_the_key(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound
) -> None:
    connect(sendgrid, site, deploy)
    (first,) = policies(sendgrid).values()
    created = run("rotate", "--hostname", HOST, "--apply")
    second = policies(sendgrid)[f"{HOST}, key 2"]
    assert f"VERIFICATION_KEY={first},{second}\n" in created
    assert attached(sendgrid) == f"{HOST}, key 1"
    with pytest.raises(CommandError, match="Run rotate without --finish"):
        run("rotate", "--hostname", HOST, "--finish", "--apply")
    deploy(first, second)
    assert receive(sendgrid) == 200
    assert "Keep both keys here for 72 hours" in run("rotate", "--hostname", HOST, "--apply")
    assert attached(sendgrid) == f"{HOST}, key 2"
    assert receive(sendgrid) == 200
    assert "Keep both keys here" in run("rotate", "--hostname", HOST, "--apply")
    assert len(policies(sendgrid)) == 2
    finished = run("rotate", "--hostname", HOST, "--finish", "--apply")
    assert f"VERIFICATION_KEY={second}\n" in finished
    assert policies(sendgrid) == {f"{HOST}, key 2": second}
    deploy(second)
    assert "is finished" in run("rotate", "--hostname", HOST, "--finish", "--apply")
    assert receive(sendgrid) == 200
    assert set(site.statuses) == {200}


def test_a_policy_that_another_hand_has_made_is_replaced_and_not_deleted(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound
) -> None:
    policy = sendgrid.parse_settings.create_policy({"name": "by hand", "signature": {"enabled": True}})[
        "policy"
    ]
    sendgrid.parse_settings.create({"hostname": HOST, "url": site.inbound_url})
    sendgrid.parse_settings.change(HOST, {"url": site.inbound_url, "security_policy": policy["id"]})
    deploy(policy["signature"]["public_key"])
    run("rotate", "--hostname", HOST, "--apply")
    deploy(*policies(sendgrid).values())
    run("rotate", "--hostname", HOST, "--apply")
    assert "Keep both keys here" in run("rotate", "--hostname", HOST, "--apply")
    assert set(policies(sendgrid)) == {"by hand", f"{HOST}, key 2"}
    second = policies(sendgrid)[f"{HOST}, key 2"]
    assert f"VERIFICATION_KEY={second}\n" in run("rotate", "--hostname", HOST, "--finish", "--apply")
    assert "by hand" in policies(sendgrid)


def test_posts_that_are_not_signed_have_no_key_to_change(sendgrid: FakeSendGrid, site: WebhookSite) -> None:
    for options in ((), ("--finish",)):
        with pytest.raises(CommandError, match="are not signed"):
            run("rotate", "--hostname", HOST, *options)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(1, 7))
def test_a_run_for_a_host_name_that_broke_off_anywhere_is_run_again(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound, fault: str, number: int
) -> None:
    """Three writes set the host name up, two change its key, and one deletes the first policy."""
    errors: list[str] = []
    sendgrid.settings_api.plan(number, FAULTS[fault]())

    setup = ("setup", "--hostname", HOST, "--url", site.inbound_url)
    run_until_done(errors, *setup)
    deploy(*policies(sendgrid).values())
    run_until_done(errors, *setup)
    run_until_done(errors, "rotate", "--hostname", HOST)
    deploy(*policies(sendgrid).values())
    run_until_done(errors, "rotate", "--hostname", HOST)
    run_until_done(errors, "rotate", "--hostname", HOST, "--finish")

    assert len(errors) == 1
    assert list(policies(sendgrid)) == [f"{HOST}, key 2"]
    assert attached(sendgrid) == f"{HOST}, key 2"
    assert sendgrid.parse_settings.get(HOST)["send_raw"] is True


def connect(sendgrid: FakeSendGrid, site: WebhookSite, deploy: DeployInbound) -> None:
    for _ in range(2):
        run("setup", "--hostname", HOST, "--url", site.inbound_url, "--apply")
        deploy(*policies(sendgrid).values())


@pytest.mark.parametrize(
    "planned", [responses.json_response(201, {}), responses.json_response(201, {"policy": None})]
)
def test_an_answer_without_a_policy_is_an_error(
    sendgrid: FakeSendGrid, site: WebhookSite, planned: ApiResponse
) -> None:
    sendgrid.settings_api.plan(1, planned)
    with pytest.raises(CommandError, match="without the id of the new policy"):
        run("setup", "--hostname", HOST, "--url", site.inbound_url, "--apply")
