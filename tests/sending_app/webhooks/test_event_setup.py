"""`manage.py sendgrid_webhooks` for an Event Webhook: set up, changed, signed, tested and listed."""

import json
from collections.abc import Callable

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from events_app.models import Event
from fake_sendgrid.server import FakeSendGrid
from tests.support.sending.webhook_settings import Deploy, run
from tests.support.sending.webhook_site import WebhookSite

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

SECRET = "sendgrid:a-secret-for-tests-only"


def webhooks(sendgrid: FakeSendGrid) -> list[dict[str, object]]:
    """The webhooks at SendGrid."""
    found: list[dict[str, object]] = sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
    return [webhook for webhook in found if webhook]


def writes(sendgrid: FakeSendGrid) -> list[str]:
    return [
        f"{call.method} {call.path.partition('/settings/')[0]}"
        for call in sendgrid.settings_api.calls
        if call.writes
    ]


def test_a_webhook_is_created_signed_and_enabled_when_the_server_has_its_key(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy, database: str
) -> None:
    created = run("setup", "--url", site.url, "--apply")
    (webhook,) = webhooks(sendgrid)
    (key,) = sendgrid.event_webhooks.public_keys()
    assert (webhook["url"], webhook["enabled"], webhook["public_key"]) == (site.url, False, key)
    assert f"SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY={key}\n" in created
    assert "run the same command again" in created

    deploy(key)
    enabled = run("setup", "--url", site.url, "--apply")

    assert webhooks(sendgrid)[0]["enabled"] is True
    assert "Stored: 11 events of the test." in enabled
    assert Event.objects.filter(recipient="example@test.com").count() == 11
    assert site.statuses == {200: 1}

    before = writes(sendgrid)
    assert "is set up, signed and enabled" in run("setup", "--url", site.url, "--apply")
    assert writes(sendgrid) == before


def test_all_events_are_posted_but_changes_of_the_account(sendgrid: FakeSendGrid, site: WebhookSite) -> None:
    run("setup", "--url", site.url, "--apply")
    (webhook,) = webhooks(sendgrid)
    switches = {name for name, value in webhook.items() if value is True}
    assert len(switches) == 11
    assert "account_status_change" not in switches


def test_without_apply_calls_are_shown_and_not_made(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    shown = run("setup", "--url", site.url)
    assert "Would create a webhook for " in shown
    assert "POST /v3/user/webhooks/event/settings" in shown
    assert "PATCH /v3/user/webhooks/event/settings/signed/{id}" in shown
    assert shown.endswith("Nothing was changed. --apply makes the changes.\n")
    run("setup", "--url", site.url, "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    sendgrid.event_webhooks.create({"url": f"{site.url}?key=2", "enabled": True}, with_status_change=False)
    before = webhooks(sendgrid)
    for action in ("sign", "test", "rotate", "unsign"):
        if action == "unsign":
            deploy()
        assert "Would " in run(action, "--id", str(before[action == "sign"]["id"])), action
    assert webhooks(sendgrid) == before
    assert len(writes(sendgrid)) == 2
    assert not site.statuses


def test_a_test_whose_events_are_refused_is_an_error_that_says_where_to_look(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy, anymail: Callable[..., None]
) -> None:
    run("setup", "--url", site.url, "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    (webhook,) = webhooks(sendgrid)
    # As if web had not been restarted: SendGrid signs by another key than the settings have.
    sendgrid.event_webhooks.sign(str(webhook["id"]), {"enabled": False})
    sendgrid.event_webhooks.sign(str(webhook["id"]), {"enabled": True})
    with pytest.raises(CommandError, match="was web restarted with the key"):
        run("test", "--apply", "--wait", "0.3")
    assert set(site.statuses) == {403}


def test_a_password_goes_into_the_url_on_request_and_is_never_shown(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy, anymail: Callable[..., None]
) -> None:
    anymail(WEBHOOK_SECRET=["sendgrid:an-older-secret-of-tests", "sendgrid:a/secret for:tests"])
    with pytest.raises(CommandError, match="Add --basic-auth"):
        run("setup", "--url", site.url, "--apply")
    options = ("setup", "--url", site.url, "--basic-auth")
    shown = run(*options) + run(*options, "--apply")
    (webhook,) = webhooks(sendgrid)
    assert webhook["url"] == site.url.replace("//", "//sendgrid:a%2Fsecret%20for%3Atests@")
    deploy(*sendgrid.event_webhooks.public_keys())
    shown += run(*options, "--apply")
    assert "does not work with a password in the URL" in shown
    assert webhooks(sendgrid)[0]["enabled"] is True
    shown += run("list") + run("list", "--json") + run("setup", "--url", site.url, "--apply")
    assert "http://***@127.0.0.1" in shown
    assert "secret" not in shown.replace("WEBHOOK_SECRET", "")
    assert "sendgrid:" not in shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("your.host/anymail/sendgrid/tracking/", "no URL of the form"),
        ("http://your.host/anymail/sendgrid/tracking/", "not https"),
        ("https://u:p@your.host/anymail/sendgrid/tracking/", "Leave the password out"),
        ("https://your.host/anymail/sendgrid/tracking/?a=1", "Leave the query out"),
        (
            "https://your.host/anymail/tracking/",
            r"no tracking webhook at .*There is /anymail/sendgrid/tracking/",
        ),
        ("https://your.host/anymail/sendgrid/inbound/", "no tracking webhook"),
        ("https://[your.host/anymail/sendgrid/tracking/", "no URL of the form"),
        ("https://your.host:port/anymail/sendgrid/tracking/", "no URL of the form"),
    ],
)
def test_an_unusable_url_is_refused_before_any_call(sendgrid: FakeSendGrid, url: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run("setup", "--url", url, "--apply")
    assert not sendgrid.settings_api.calls


def test_a_host_outside_of_allowed_hosts_is_a_warning(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(WEBHOOK_SECRET=None)
    shown = run("setup", "--url", "https://mail.example.com/anymail/sendgrid/tracking/")
    assert "WARNING: the host is not in ALLOWED_HOSTS" in shown


def test_update_changes_what_is_asked_and_keeps_the_rest(
    sendgrid: FakeSendGrid, site: WebhookSite, settings: Settings
) -> None:
    run("setup", "--url", site.url, "--name", "Shop", "--events", "bounce,dropped", "--apply")
    run("update", "--events", "bounce,account_status_change", "--apply")
    (webhook,) = webhooks(sendgrid)
    assert {name for name, value in webhook.items() if value is True} == {"bounce", "account_status_change"}
    assert (webhook["friendly_name"], webhook["enabled"]) == ("Shop", False)
    assert "has these settings already" in run("update", "--name", "Shop", "--apply")
    moved = site.url.replace("127.0.0.1", "localhost")
    run("update", "--name", "", "--new-url", moved, "--apply")
    (webhook,) = webhooks(sendgrid)
    assert (webhook["friendly_name"], webhook["url"]) == ("", moved)
    assert webhook["public_key"]


@pytest.mark.parametrize("query", ["", "?key=2"])
def test_a_webhook_without_the_final_slash_is_the_same_webhook(
    sendgrid: FakeSendGrid, site: WebhookSite, query: str
) -> None:
    bare = {"url": f"{site.url.rstrip('/')}{query}", "enabled": True, "bounce": True}
    sendgrid.event_webhooks.create(bare, with_status_change=False)
    run("setup", "--url", site.url, "--apply")
    assert [webhook["url"] for webhook in webhooks(sendgrid)] == [f"{site.url}{query}"]


def test_only_a_run_that_would_change_something_says_how(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    run("setup", "--url", site.url, "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    assert "--apply" not in run("sign")
    assert "--apply makes the changes" in run("setup", "--url", site.url)


def test_an_unknown_event_is_an_error_that_lists_the_events() -> None:
    with pytest.raises(
        CommandError, match=r"'spamreport' is no event. There are: all, processed, .*spam_report"
    ):
        run("setup", "--url", "https://a.example/", "--events", "bounce,spamreport")


def test_an_enabled_webhook_is_signed_by_its_own_action_with_a_warning_about_the_gap(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    everything = dict.fromkeys(["enabled", "bounce"], True)
    sendgrid.event_webhooks.create({"url": site.url, **everything}, with_status_change=False)
    assert "The action sign changes that." in run("setup", "--url", site.url, "--apply")
    assert not sendgrid.event_webhooks.public_keys()
    assert "accepted like the unsigned ones until you set it" in run("sign")
    deploy("another key")
    signed = run("sign", "--apply")
    (key,) = sendgrid.event_webhooks.public_keys()
    assert "WARNING: this server has another key" in signed
    assert f"VERIFICATION_KEY=another key,{key}\n" in signed
    assert webhooks(sendgrid)[0]["bounce"] is True
    deploy(key)
    assert "this server has its key" in run("sign", "--apply")


def test_the_signature_is_turned_off_only_after_the_key_is_gone_here(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    run("setup", "--url", site.url, "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    with pytest.raises(CommandError, match="First remove the key here"):
        run("unsign", "--apply")
    assert sendgrid.event_webhooks.public_keys()
    deploy()
    assert "WARNING: this deletes the key pair." in run("unsign", "--apply")
    assert not sendgrid.event_webhooks.public_keys()
    assert "are not signed" in run("unsign", "--apply")


def test_the_list_shows_each_webhook_and_whether_its_key_is_here(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    assert "Event Webhooks: 0 of at most 5" in run("list")
    run("setup", "--url", site.url, "--apply")
    elsewhere = {"url": "https://u:p@other.example/hook", "enabled": True, "open": True}
    sendgrid.event_webhooks.create(elsewhere, with_status_change=False)
    table = run("list")
    assert "Event Webhooks: 2 of at most 5" in table
    assert "ITS KEY IS NOT HERE" in table
    assert "https://***@other.example/hook" in table
    deploy(*sendgrid.event_webhooks.public_keys())
    assert "yes, its key is here" in run("list")
    ours, other = json.loads(run("list", "--json"))["event_webhooks"]["webhooks"]
    assert (ours["ours"], ours["signed"], ours["key_is_here"], ours["enabled"]) == (True, True, True, False)
    assert (other["ours"], other["signed"], other["events"]) == (False, False, ["open"])


def test_several_webhooks_of_this_project_are_named_by_url_or_id(
    sendgrid: FakeSendGrid, site: WebhookSite
) -> None:
    run("setup", "--url", site.url, "--apply")
    run("setup", "--url", site.url.replace("127.0.0.1", "localhost"), "--apply")
    with pytest.raises(CommandError, match="Choose one with --url or --id"):
        run("update", "--name", "x")
    second = webhooks(sendgrid)[1]
    run("update", "--url", site.url, "--name", "first", "--apply")
    run("update", "--id", str(second["id"]), "--name", "second", "--apply")
    assert [webhook["friendly_name"] for webhook in webhooks(sendgrid)] == ["first", "second"]
    for option, value in (("--id", "unknown"), ("--url", "https://nobody.example/")):
        with pytest.raises(CommandError, match="The action list shows all"):
            run("update", option, value, "--name", "x")
