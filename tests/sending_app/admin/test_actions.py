"""Actions on mails and paused accounts: a preview, a confirmation, and an audit line for each row."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from events_app.shared import redis
from events_app.shared.admin import actions
from events_app.shared.database import database_now
from sending_app.models import Mail, OpenCircuit
from tests.support.commands import output_of
from tests.support.operators import act_url, audit, choose, confirm, messages_of, sign_in, url_of
from tests.support.sending.outbox_mails import all_parts, mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MAIL, CIRCUIT = "sending_app.mail", "sending_app.opencircuit"
VIEWS = ("sending_app.view_mail", "sending_app.view_opencircuit")
STATES = ("waiting", "posting", "accepted", "failed", "unknown", "parked", "cancelled")


@pytest.fixture
def client(client: Client) -> Client:
    """Of a user who may see rows and act."""
    sign_in(client, *VIEWS, "sending_app.act", name="ann")
    return client


def in_state(*states: str, **columns: Any) -> list[int]:
    """Mails in these states."""
    pks = []
    for state in states:
        message = put_in_outbox(mail("ann@example.com", "bo@example.com"))
        Mail.objects.filter(message=message).update(state=state, **columns)
        pks.append(all_parts()[-1].pk)
    return pks


def states() -> list[str]:
    return [part.state for part in all_parts()]


@pytest.mark.parametrize(
    ("action", "options"),
    [("retry", []), ("cancel", []), ("park", []), ("settle", ["--sent"]), ("resend", [])],
)
def test_a_preview_counts_as_the_dry_run_of_the_command(
    database: str, client: Client, action: str, options: list[str]
) -> None:
    pks = in_state(*STATES)
    page = choose(client, url_of(MAIL), action, pks, across=True)
    dry_run = json.loads(output_of("outbox", action, *options, "--all", "--dry-run", "--json"))
    assert f"This would {action} {dry_run[f'would_{action}']} of 7 mails." in page.content.decode()
    groups = sorted(group["state"] for group in dry_run["groups"])
    assert sorted(group[0] for group in page.context["preview"].groups) == groups
    assert states() == list(STATES)
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("action", "choices", "change"),
    [
        ("retry", {}, ("failed", "waiting", "Retried.")),
        ("cancel", {}, ("parked", "cancelled", "Cancelled.")),
        ("park", {}, ("waiting", "parked", "Parked.")),
        ("settle", {"answer": "sent"}, ("unknown", "accepted", "Settled as sent.")),
        ("settle", {"answer": "not sent"}, ("parked", "waiting", "Settled as not sent.")),
    ],
)
def test_a_confirmed_action_changes_the_mail_and_names_the_user(
    database: str, client: Client, action: str, choices: dict[str, str], change: tuple[str, str, str]
) -> None:
    before, after, line = change
    (pk,) = in_state(before)
    url = act_url(MAIL, action, pk)
    answer = confirm(client, client.get(url), url, **choices)
    assert "1 of 1 mail." in messages_of(answer)[0]
    (changed,) = all_parts()
    assert changed.state == after
    assert changed.log[-1]["what"] == f"by ann: {line.strip('.').lower()}"
    assert audit() == [("ann", f"{after} mail {pk}", line)]


def test_a_settlement_needs_an_answer_and_warns_of_mails_sent_twice(database: str, client: Client) -> None:
    (pk,) = in_state("parked")
    url = act_url(MAIL, "settle", pk)
    page = client.get(url)
    assert "their recipients get them twice" in page.content.decode()
    for choices in ({}, {"answer": "perhaps"}):
        page = confirm(client, page, url, **choices)
        assert states() == ["parked"]
    (words,) = messages_of(confirm(client, page, url, answer="not sent"))
    assert words.endswith("If SendGrid has them after all, their recipients get them twice.")


@pytest.mark.parametrize("action", ["retry", "cancel", "park", "settle", "resend"])
def test_a_mail_that_a_worker_is_posting_is_left_alone(database: str, client: Client, action: str) -> None:
    due = database_now(database) + timedelta(minutes=1)
    (pk,) = in_state("posting", due=due)
    page = choose(client, url_of(MAIL), action, [pk])
    assert f"This would {action} 0 of 1 mail." in page.content.decode()
    choices = {"answer": "not sent"} if action == "settle" else {}
    confirm(client, page, url_of(MAIL), **choices)
    assert states() == ["posting"]
    assert not LogEntry.objects.exists()


def test_mails_with_refused_recipients_are_retried_if_chosen_one_by_one(
    database: str, client: Client
) -> None:
    (pk,) = in_state("failed", refused=True)
    page = choose(client, url_of(MAIL), "retry", [pk], across=True)
    assert "1 left alone: SendGrid refuses their recipients" in page.content.decode()
    assert "would retry 1 of 1" in choose(client, url_of(MAIL), "retry", [pk]).content.decode()


def test_a_mail_is_sent_again_once_however_often_the_page_is_confirmed(database: str, client: Client) -> None:
    (pk,) = in_state("accepted")
    url = act_url(MAIL, "resend", pk)
    page = client.get(url)
    shown = page.content.decode()
    assert "2 recipients will get a mail (again)." in shown
    assert "Recipients who have the first mail get a second one." in shown
    answer = confirm(client, page, url)
    assert messages_of(answer)[0].startswith("Resent 1 of 1 mail.")
    session = client.session
    session.pop("confirmed")  # as if both clicks had come in the same moment
    session.save()
    answer = confirm(client, page, url)
    assert "1 left alone: sent again before, by the same confirmation." in messages_of(answer)[0]
    assert states() == ["accepted", "waiting"]
    assert audit() == [("ann", f"accepted mail {pk}", "Sent again as a new mail.")]


def test_the_preview_of_a_resend_shows_no_address(database: str, client: Client) -> None:
    (pk,) = in_state("accepted")
    assert "@example.com" not in client.get(act_url(MAIL, "resend", pk)).content.decode()


def test_the_list_of_too_many_mails_names_the_command_with_its_filters(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MOST", 1)
    pks = in_state("failed", "failed")
    query = "?state=failed&mailer=default&lane=mail"
    page = choose(client, url_of(MAIL) + query, "retry", pks, across=True)
    line = "manage.py outbox retry --state=failed --mailer=default --lane=mail --dry-run"
    assert line in page.content.decode()
    output_of(*line.split()[1:])


def test_a_preview_has_the_words_of_the_lists(database: str, client: Client) -> None:
    (pk,) = in_state("parked")
    shown = client.get(act_url(MAIL, "settle", pk)).content.decode()
    assert "<td>parked</td><td>transactional</td><td>default</td>" in shown


def test_a_paused_account_is_probed_now(database: str, client: Client) -> None:
    now = database_now(database)
    account = "0123456789abcdef"
    OpenCircuit.objects.create(
        account=account, alias="default", opened_at=now, probe_at=now + timedelta(minutes=9)
    )
    url = act_url(CIRCUIT, "probe", account)
    page = client.get(url)
    assert "This would probe 1 of 1 account." in page.content.decode()
    answer = confirm(client, page, url)
    assert messages_of(answer)[0].startswith("Probed 1 of 1 account.")
    assert OpenCircuit.objects.get().probe_at <= database_now(database)
    assert audit() == [("ann", "paused account of the mailer default", "Probe asked for.")]
    assert "This would probe 0 of 1 account." in client.get(url).content.decode()


@pytest.mark.parametrize("permissions", [VIEWS, ("sending_app.act",)])
def test_an_action_requires_the_permissions_to_view_and_to_act(
    database: str, client: Client, permissions: tuple[str, ...]
) -> None:
    (pk,) = in_state("parked")
    sign_in(client, *permissions, name="bo")
    for action in ("retry", "cancel", "park", "settle", "resend"):
        url = act_url(MAIL, action, pk)
        assert client.get(url).status_code == client.post(url).status_code == 403
    assert states() == ["parked"]


def test_a_confirmed_change_wakes_the_workers_of_both_lanes(database: str, client: Client) -> None:
    (pk,) = in_state("failed")
    server = redis.for_workers()
    server.delete("sendgrid.mail", "sendgrid.bulk")
    url = act_url(MAIL, "retry", pk)
    confirm(client, client.get(url), url)
    assert [server.llen(queue) for queue in ("sendgrid.mail", "sendgrid.bulk")] == [1, 1]
