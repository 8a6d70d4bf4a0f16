"""`manage.py sendgrid_webhooks rotate`: a new key without a refused post, however often a run breaks off."""

from collections.abc import Callable

import pytest
from django.core.management import CommandError

from events_app.models import Event
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.server import FakeSendGrid
from tests.support.sending.webhook_settings import DAY, FAULTS, Deploy, run, run_until_done, webhook_states
from tests.support.sending.webhook_site import WebhookSite

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture
def set_up(sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy) -> None:
    run("setup", "--url", site.url, "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    run("setup", "--url", site.url, "--apply")


@pytest.mark.usefixtures("set_up")
def test_a_second_webhook_takes_over_and_the_first_is_deleted_after_a_day(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    (first,) = sendgrid.event_webhooks.public_keys()

    created = run("rotate", "--apply")
    second = sendgrid.event_webhooks.public_keys()[1]
    assert webhook_states(sendgrid) == [("", True, True), ("key=2", False, True)]
    assert f"VERIFICATION_KEY={first},{second}\n" in created
    assert run("rotate", "--apply").count("Done") == 0

    deploy(first, second)
    stored = Event.objects.count()
    taken_over = run("rotate", "--apply")
    assert webhook_states(sendgrid) == [("", False, True), ("key=2", True, True)]
    assert "Keep both keys here for more than 24 hours" in taken_over
    assert Event.objects.count() == stored + 11
    assert "Keep both keys here" in run("rotate", "--apply")
    with pytest.raises(CommandError, match="SendGrid may still retry its posts"):
        run("rotate", "--finish", "--apply")

    sendgrid.event_webhooks.pass_time(DAY + 1)
    assert "Would delete webhook" in run("rotate", "--finish")
    finished = run("rotate", "--finish", "--apply")
    assert webhook_states(sendgrid) == [("key=2", True, True)]
    assert f"remove them:\n    {first}\n" in finished
    assert f"VERIFICATION_KEY={second}\n" in finished
    assert f"    {first}\n" in run("rotate", "--finish", "--apply")
    deploy(second)
    assert first not in run("rotate", "--finish", "--apply")
    assert site.statuses == {200: 2}

    run("rotate", "--apply")
    assert webhook_states(sendgrid) == [("key=2", True, True), ("key=3", False, True)]


@pytest.mark.usefixtures("set_up")
def test_the_second_webhook_has_the_settings_of_the_first(sendgrid: FakeSendGrid) -> None:
    run("update", "--name", "Shop", "--events", "bounce,account_status_change", "--apply")
    run("rotate", "--apply")
    first, second = sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
    assert {name for name, value in second.items() if value is True} == {"bounce", "account_status_change"}
    own = {"id", "url", "enabled", "public_key", "created_date", "updated_date"}
    assert {name: first[name] for name in first.keys() - own} == {
        name: second[name] for name in second.keys() - own
    }


@pytest.mark.usefixtures("set_up")
def test_a_change_of_the_first_webhook_meanwhile_is_one_of_the_second_too(
    sendgrid: FakeSendGrid, deploy: Deploy, anymail: Callable[..., None]
) -> None:
    run("rotate", "--apply")
    anymail(WEBHOOK_SECRET="sendgrid:a-secret-for-tests-only")
    run("update", "--name", "Shop", "--events", "bounce", "--basic-auth", "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    run("rotate", "--apply")
    first, second = sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
    assert (second["friendly_name"], second["bounce"], second["open"]) == ("Shop", True, False)
    assert second["url"] == f"{first['url']}?key=2"
    assert "sendgrid:" in second["url"]


@pytest.mark.usefixtures("set_up")
def test_a_webhook_with_another_query_is_never_taken_for_the_one_without(
    sendgrid: FakeSendGrid, site: WebhookSite
) -> None:
    other = {"url": f"{site.url}?a=1", "enabled": True, "bounce": True}
    webhook_id = sendgrid.event_webhooks.create(other, with_status_change=False)["id"]
    run("update", "--url", other["url"], "--name", "Other", "--apply")
    names = [
        hook.get("friendly_name")
        for hook in sendgrid.event_webhooks.all(with_status_change=False)["webhooks"]
    ]
    assert names == ["django-sendgrid-pipeline", "Other"]
    for options in ((), ("--finish",), ("--accept-gap",)):
        with pytest.raises(CommandError, match="has another query"):
            run("rotate", "--id", webhook_id, *options)
    with pytest.raises(CommandError, match="No webhook posts to"):
        run("update", "--url", f"{site.url}?key=2", "--name", "x")


@pytest.mark.usefixtures("set_up")
def test_the_end_of_a_change_never_leaves_the_server_without_the_key_of_the_webhook(
    sendgrid: FakeSendGrid, deploy: Deploy
) -> None:
    (key,) = sendgrid.event_webhooks.public_keys()
    deploy("an older key")
    finished = run("rotate", "--finish")
    assert "    an older key\n" in finished
    assert f"VERIFICATION_KEY={key}\n" in finished
    (webhook,) = sendgrid.event_webhooks.all(with_status_change=False)["webhooks"]
    sendgrid.event_webhooks.sign(webhook["id"], {"enabled": False})
    with pytest.raises(CommandError, match="Run sign"):
        run("rotate", "--finish")


@pytest.mark.usefixtures("set_up")
def test_two_webhooks_that_are_no_pair_are_not_rotated(sendgrid: FakeSendGrid, site: WebhookSite) -> None:
    """They may post different events."""
    other = {"url": site.url.rstrip("/"), "enabled": True, "open": True}
    webhook_id = sendgrid.event_webhooks.create(other, with_status_change=False)["id"]
    sendgrid.event_webhooks.sign(webhook_id, {"enabled": True})
    with pytest.raises(CommandError, match="2 webhooks post to this URL"):
        run("rotate")


@pytest.mark.usefixtures("set_up")
def test_the_first_webhook_goes_on_while_a_key_is_missing_or_the_test_fails(
    sendgrid: FakeSendGrid, deploy: Deploy
) -> None:
    run("rotate", "--apply")
    first, second = sendgrid.event_webhooks.public_keys()
    deploy(second)
    assert f"VERIFICATION_KEY={second},{first}\n" in run("rotate", "--apply")
    deploy(first, second)
    # The test is carried out by a plan: SendGrid answers, and never posts.
    sendgrid.settings_api.plan(2, ApiResponse(status=204))
    with pytest.raises(CommandError, match="No event of the test has been stored"):
        run("rotate", "--apply", "--wait", "0.3")
    assert webhook_states(sendgrid) == [("", True, True), ("key=2", True, True)]
    run("rotate", "--apply")
    assert webhook_states(sendgrid) == [("", False, True), ("key=2", True, True)]


@pytest.mark.usefixtures("set_up")
def test_a_plan_with_one_webhook_takes_no_silent_gap(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy
) -> None:
    sendgrid.event_webhooks.max_allowed = 1
    (first,) = sendgrid.event_webhooks.public_keys()
    for options in ((), ("--apply",)):
        with pytest.raises(CommandError, match=r"(?s)no further webhook \(1\).*there is a gap.*--accept-gap"):
            run("rotate", *options)
    assert sendgrid.event_webhooks.public_keys() == [first]
    changed = run("rotate", "--accept-gap", "--apply")
    (second,) = sendgrid.event_webhooks.public_keys()
    assert second != first
    assert f"VERIFICATION_KEY={first},{second}\n" in changed
    assert "until then posts get 403" in changed
    # Again, before the key is here: nothing but the instructions.
    assert run("rotate", "--accept-gap", "--apply").count("Done") == 0
    deploy(first, second)
    assert "Stored: 11" in run("test", "--apply")
    # Again, after the key is here: not a second gap.
    assert "This server has the new key since the change" in run("rotate", "--accept-gap", "--apply")
    assert sendgrid.event_webhooks.public_keys() == [second]
    sendgrid.event_webhooks.pass_time(DAY + 1)
    assert "Would turn off the signature" in run("rotate", "--accept-gap")


@pytest.mark.usefixtures("set_up")
def test_a_gap_is_refused_where_a_second_webhook_needs_none(sendgrid: FakeSendGrid) -> None:
    with pytest.raises(CommandError, match="The plan allows a second webhook"):
        run("rotate", "--accept-gap", "--apply")
    run("rotate", "--apply")
    sendgrid.event_webhooks.max_allowed = 2
    with pytest.raises(CommandError, match="A second webhook is there"):
        run("rotate", "--accept-gap", "--apply")
    assert webhook_states(sendgrid) == [("", True, True), ("key=2", False, True)]


@pytest.mark.usefixtures("set_up")
def test_a_webhook_with_a_password_is_not_tested_by_sendgrid(
    sendgrid: FakeSendGrid, deploy: Deploy, anymail: Callable[..., None]
) -> None:
    anymail(WEBHOOK_SECRET="sendgrid:a-secret-for-tests-only")
    run("update", "--basic-auth", "--apply")
    run("rotate", "--apply")
    deploy(*sendgrid.event_webhooks.public_keys())
    assert "run the same command with --untested" in run("rotate", "--apply")
    assert [enabled for _, enabled, _ in webhook_states(sendgrid)] == [True, True]
    run("rotate", "--untested", "--apply")
    assert [enabled for _, enabled, _ in webhook_states(sendgrid)] == [False, True]


def test_nothing_to_rotate_is_an_error_that_says_what_to_run(
    sendgrid: FakeSendGrid, site: WebhookSite
) -> None:
    webhook = sendgrid.event_webhooks.create({"url": site.url, "enabled": True}, with_status_change=False)
    with pytest.raises(CommandError, match="Run sign"):
        run("rotate")
    sendgrid.event_webhooks.change(webhook["id"], {"url": site.url}, with_status_change=False)
    sendgrid.event_webhooks.sign(webhook["id"], {"enabled": True})
    with pytest.raises(CommandError, match="Run setup first"):
        run("rotate")
    sendgrid.event_webhooks.change(webhook["id"], {"url": f"{site.url}?a=1"}, with_status_change=False)
    with pytest.raises(CommandError, match="has another query"):
        run("rotate")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(1, 11))
def test_a_run_that_broke_off_anywhere_is_run_again(
    sendgrid: FakeSendGrid, site: WebhookSite, deploy: Deploy, fault: str, number: int
) -> None:
    """Four writes set the webhook up, five change its key, and one deletes the first webhook."""
    errors: list[str] = []
    sendgrid.settings_api.plan(number, FAULTS[fault]())

    run_until_done(errors, "setup", "--url", site.url)
    deploy(*sendgrid.event_webhooks.public_keys())
    run_until_done(errors, "setup", "--url", site.url)
    run_until_done(errors, "rotate")
    deploy(*sendgrid.event_webhooks.public_keys())
    run_until_done(errors, "rotate")
    sendgrid.event_webhooks.pass_time(DAY + 1)
    run_until_done(errors, "rotate", "--finish")

    assert len(errors) == 1
    assert "SG.fake" not in errors[0]
    assert webhook_states(sendgrid) == [("key=2", True, True)]
    assert set(site.statuses) == {200}


def test_a_run_interrupted_by_the_operator_says_that_changes_stay(
    sendgrid: FakeSendGrid, site: WebhookSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sending_app.webhooks.event_webhooks.sign_webhook", interrupt)
    with pytest.raises(CommandError, match="Changes made so far stay"):
        run("setup", "--url", site.url, "--apply")
    assert webhook_states(sendgrid) == [("", False, False)]
