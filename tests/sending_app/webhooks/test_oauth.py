"""OAuth of webhooks: SendGrid gets the credentials, and no output has the secret."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError

from fake_sendgrid.server import FakeSendGrid
from sending_app.webhooks import oauth
from tests.support.sending.webhook_settings import Deploy, run
from tests.support.sending.webhook_site import WebhookSite

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

TOKEN_URL = "https://your.host/anymail/sendgrid/token/"

SECRET = "a-secret-of-a-client"

OAUTH = ("--oauth", "--token-url", TOKEN_URL)


@pytest.fixture(autouse=True)
def clients(anymail: Callable[..., None]) -> None:
    """This server knows two clients, of which the second is the newer one."""
    anymail(SENDGRID_API_KEY="SG.fake", WEBHOOK_OAUTH_CLIENTS=["old:an-older-secret", f"new:{SECRET}"])


def secrets_at(sendgrid: FakeSendGrid) -> list[tuple[str, str, str]]:
    """The credentials of each webhook, as SendGrid keeps them."""
    names = ("oauth_client_id", "oauth_client_secret", "oauth_token_url")
    found = (webhook.settings for webhook in sendgrid.event_webhooks._webhooks.values())
    return [tuple(str(settings.get(name, "")) for name in names) for settings in found]  # type: ignore[misc]


def test_the_newest_client_of_the_settings_is_given_to_sendgrid_on_request(
    sendgrid: FakeSendGrid, site: WebhookSite
) -> None:
    with pytest.raises(CommandError, match="Add --oauth"):
        run("setup", "--url", site.url)
    shown = run("setup", "--url", site.url, *OAUTH) + run("setup", "--url", site.url, *OAUTH, "--apply")
    assert secrets_at(sendgrid) == [("new", SECRET, TOKEN_URL)]
    assert '"oauth_client_secret": "***"' in shown
    shown += run("update", "--name", "x", "--apply") + run("list") + run("list", "--json")
    assert secrets_at(sendgrid) == [("new", SECRET, TOKEN_URL)]
    assert SECRET not in shown
    assert SECRET not in repr(oauth.credentials(TOKEN_URL, None))


def test_a_webhook_changes_between_password_and_oauth(
    sendgrid: FakeSendGrid, site: WebhookSite, anymail: Callable[..., None]
) -> None:
    anymail(WEBHOOK_SECRET="sendgrid:a-secret-for-tests-only")
    run("setup", "--url", site.url, "--basic-auth", "--apply")
    run("update", *OAUTH, "--apply")
    (webhook,) = sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
    assert webhook["url"] == site.url
    assert secrets_at(sendgrid) == [("new", SECRET, TOKEN_URL)]
    run("update", "--basic-auth", "--apply")
    (webhook,) = sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
    assert "sendgrid:" in webhook["url"]
    assert secrets_at(sendgrid) == [("", "", "")]


def test_the_second_webhook_of_a_rotation_has_the_client_of_the_first(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy, anymail: Callable[..., None]
) -> None:
    run("setup", "--url", site.url, *OAUTH, "--client-id", "old", "--apply")
    (webhook,) = sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
    enabled = {"url": site.url, "enabled": True, "bounce": True}
    sendgrid.event_webhooks.change(webhook["id"], enabled, with_status_change=True)
    shown = run("rotate", "--apply")
    assert secrets_at(sendgrid) == [("old", "an-older-secret", TOKEN_URL)] * 2
    assert "an-older-secret" not in shown


def test_the_secret_of_another_servers_client_is_typed(
    sendgrid: FakeSendGrid, site: WebhookSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("typed\n"))
    run("setup", "--url", site.url, *OAUTH, "--client-id", "theirs", "--apply")
    assert secrets_at(sendgrid) == [("theirs", "typed", TOKEN_URL)]
    monkeypatch.setattr("sys.stdin", StringIO(""))
    with pytest.raises(CommandError, match="theirs is needed, on standard input"):
        run("update", *OAUTH, "--client-id", "theirs")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--oauth"], "--oauth needs --token-url"),
        (["--token-url", TOKEN_URL], "need --oauth"),
        (["--client-id", "me"], "need --oauth"),
        ([*OAUTH, "--basic-auth"], "exclude each other"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run("setup", "--url", "https://a.example/", *options)


def test_without_a_client_here_the_error_says_what_to_set(anymail: Callable[..., None]) -> None:
    anymail(WEBHOOK_OAUTH_CLIENTS=None)
    with pytest.raises(CommandError, match="WEBHOOK_OAUTH_CLIENTS is not set here"):
        run("setup", "--url", "https://a.example/", *OAUTH)


def test_the_policy_of_a_host_name_has_the_client_too(
    sendgrid: FakeSendGrid, site: WebhookSite, anymail: Callable[..., None]
) -> None:
    command = ("setup", "--hostname", "parse.example.com", "--url", site.inbound_url, *OAUTH)
    shown = run(*command, "--apply")
    (policy,) = sendgrid.parse_settings._policies.values()
    client = {"client_id": "new", "client_secret": SECRET, "token_url": TOKEN_URL}
    assert policy.oauth == {**client, "scopes": ["inbound"]}
    shown += run(*command, "--client-id", "old", "--apply")
    assert policy.oauth["client_secret"] == "an-older-secret"
    anymail(SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=policy.sender.public_key)
    shown += run(*command, "--client-id", "old", "--apply")
    shown += run("rotate", "--hostname", "parse.example.com", "--apply")
    assert [kept.oauth["client_id"] for kept in sendgrid.parse_settings._policies.values()] == ["old", "old"]
    assert "secret" not in shown.replace("client_secret", "")


def test_posts_with_tokens_of_this_server_arrive(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    token_url = site.url.replace("tracking", "token")
    options = ("setup", "--url", site.url, "--oauth", "--token-url", token_url, "--apply")
    run(*options)
    deploy(*sendgrid.event_webhooks.public_keys())
    assert "Stored: 11" in run(*options)
    assert "Stored: 11" in run("test", "--apply")
    run("rotate", "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    assert "Stored: 11" in run("rotate", "--apply")
    assert set(site.statuses) == {200}


def test_a_new_secret_of_the_same_client_is_sent(
    sendgrid: FakeSendGrid, site: WebhookSite, anymail: Callable[..., None]
) -> None:
    run("setup", "--url", site.url, *OAUTH, "--apply")
    anymail(WEBHOOK_OAUTH_CLIENTS=[f"new:{SECRET}", "new:a-newer-secret-of-it"])
    run("update", *OAUTH, "--apply")
    assert secrets_at(sendgrid) == [("new", "a-newer-secret-of-it", TOKEN_URL)]
