"""Actions on events and inbound mails: a preview, a confirmation, and an audit line for each row."""

import json
import logging
from collections.abc import Callable
from unittest import mock

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events_app.dispatch import leases
from events_app.models import Event, PendingDelivery, PendingInboundDelivery
from events_app.shared.admin import actions
from events_app.shared.database import database_now
from events_app.signals import InboundSignal, ReceiverSignal
from tests.support.commands import output_of
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.inbound.mails import add_pending_mail, store_read_mail
from tests.support.operators import act_url, audit, choose, confirm, messages_of, sign_in, url_of
from tests.support.recorded_calls import Recorder

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

EVENT, DELIVERY, INBOUND = "events_app.event", "events_app.pendingdelivery", "events_app.inboundmail"
VIEWS = ("events_app.view_event", "events_app.view_pendingdelivery", "events_app.view_inboundmail")
FAILED = {"shop": "Traceback (most recent call last):\nKeyError: 1"}


@pytest.fixture
def client(client: Client) -> Client:
    """Of a user who may see rows and act."""
    sign_in(client, *VIEWS, "events_app.act", name="ann")
    return client


def dead_letters(count: int) -> list[int]:
    """Events with a dead letter each."""
    pks = store_done(*(open_event(f"D{number}") for number in range(count)))
    for pk in pks:
        add_pending(pk, state="dead", failures=15, receivers=FAILED)
    return sorted(pks)


# A preview changes nothing, and says what the command's dry run says


@pytest.mark.parametrize("action", ["retry", "replay", "discard"])
def test_a_preview_counts_as_the_dry_run_of_the_command(database: str, client: Client, action: str) -> None:
    pks = [*dead_letters(3), *store_done(open_event("A1"), open_event("B2"))]
    add_pending(pks[-1], lease=77)
    before = list(PendingDelivery.objects.order_by("pk").values())
    page = choose(client, url_of(EVENT), action, pks)
    shown = page.content.decode()
    dry_run = json.loads(output_of("events", action, "--all", "--dry-run", "--json"))
    assert f"This would {action} {dry_run[f'would_{action}']} of 5 events." in shown
    groups = [(count, *group) for group, count in page.context["preview"].groups.most_common()]
    assert [group[0] for group in groups] == [group["events"] for group in dry_run["groups"]]
    assert list(PendingDelivery.objects.order_by("pk").values()) == before
    assert not LogEntry.objects.exists()


def test_a_preview_has_the_words_of_the_lists(database: str, client: Client) -> None:
    shown = choose(client, url_of(EVENT), "retry", dead_letters(1)).content.decode()
    assert "<td>dead letter</td>" in shown
    assert "<td>dead</td>" not in shown


def test_a_preview_tells_why_rows_are_left_alone(database: str, client: Client) -> None:
    (dead,) = dead_letters(1)
    leased, done = store_done(open_event("A1"), open_event("B2"))
    add_pending(leased, lease=77)
    shown = choose(client, url_of(EVENT), "retry", [dead, leased, done]).content.decode()
    assert "This would retry 1 of 3 events." in shown
    assert "1 left alone: a worker has them in hand." in shown
    assert "1 with nothing to retry: done, or not tried yet." in shown


def test_the_confirmation_page_of_a_row_changes_nothing(database: str, client: Client) -> None:
    (pk,) = dead_letters(1)
    url = act_url(EVENT, "retry", pk)
    assert "This would retry 1 of 1 event." in client.get(url).content.decode()
    assert "This would retry 1 of 1 event." in client.post(url).content.decode()
    assert PendingDelivery.objects.get().state == "dead"


# A confirmation changes the rows


def test_a_confirmed_retry_changes_the_rows_and_leaves_an_audit_line_for_each(
    database: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "events_app.shared.changes")
    pks = dead_letters(3)
    page = choose(client, url_of(EVENT), "retry", pks[:2])
    answer = confirm(client, page, url_of(EVENT))
    assert answer.redirect_chain == [(url_of(EVENT), 302)]
    assert messages_of(answer) == [
        "Retried 2 of 2 events. A worker takes them up now, or at beat's next tick."
    ]
    assert list(PendingDelivery.objects.order_by("pk").values_list("state", flat=True)) == [
        "pending",
        "pending",
        "dead",
    ]
    assert leases.anything_to_retry()
    assert audit() == [("ann", f"opened event {pk}", "Retried.") for pk in pks[:2]]
    user = LogEntry.objects.latest("pk").user_id
    assert [record.getMessage() for record in caplog.records if record.levelname == "INFO"] == [
        f"Retried 2 events (user: {user})"
    ]


def test_an_action_on_the_whole_list_obeys_its_filters(database: str, client: Client) -> None:
    dead_letters(2)
    (bounced,) = store_done({**open_event("B1"), "event": "bounce"})
    add_pending(bounced, state="dead", failures=15, receivers=FAILED)
    url = url_of(EVENT) + "?event_type__exact=bounced"
    page = choose(client, url, "retry", [bounced], across=True)
    assert "This would retry 1 of 1 event." in page.content.decode()
    assert messages_of(confirm(client, page, url))[0].startswith("Retried 1 of 1 event.")
    assert PendingDelivery.objects.filter(state="dead").count() == 2


def test_rows_that_join_the_list_after_the_preview_are_left_alone(database: str, client: Client) -> None:
    pks = dead_letters(2)
    page = choose(client, url_of(EVENT), "retry", pks[:1], across=True)
    (new,) = store_done(open_event("N1"))
    add_pending(new, state="dead", failures=15, receivers=FAILED)
    assert messages_of(confirm(client, page, url_of(EVENT)))[0].startswith("Retried 2 of 2 events.")
    assert PendingDelivery.objects.get(state="dead").pk == new


def test_a_replay_asks_for_its_receivers(database: str, client: Client, tracking: ReceiverSignal) -> None:
    Recorder(tracking, "shop")
    Recorder(tracking, "crm")
    (pk,) = store_done(open_event("A1"))
    url = act_url(EVENT, "replay", pk)
    page = client.get(url)
    for choices, words in (
        ({}, "This field is required."),
        ({"to": "some"}, "Choose a receiver."),
        ({"to": "some", "names": ["<b>nobody"]}, "&lt;b&gt;nobody is not one of the available choices."),
        ({"to": "<i>"}, "&lt;i&gt; is not one of the available choices."),
    ):
        page = confirm(client, page, url, **choices)
        assert words in page.content.decode()
    assert not PendingDelivery.objects.exists()
    answer = confirm(client, page, url, to="some", names=["crm"])
    assert messages_of(answer)[0].startswith("Replayed 1 of 1 event.")
    assert PendingDelivery.objects.get().receivers == {"crm": ""}
    assert audit() == [("ann", f"opened event {pk}", "Replayed to crm.")]


def test_a_replay_to_all_receivers_ignores_chosen_names(
    database: str, client: Client, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "shop")
    (pk,) = store_done(open_event("A1"))
    url = act_url(EVENT, "replay", pk)
    confirm(client, client.get(url), url, to="all", names=["shop"])
    assert PendingDelivery.objects.get().receivers == {}
    assert audit()[0][2] == "Replayed to all receivers."


def test_a_discarded_dead_letter_is_gone_and_its_event_stays(database: str, client: Client) -> None:
    (pk,) = dead_letters(1)
    url = act_url(DELIVERY, "discard", pk)
    answer = confirm(client, client.get(url), url)
    assert answer.redirect_chain == [(url_of(DELIVERY), 302)]
    assert messages_of(answer) == ["Discarded 1 of 1 event."]
    assert (PendingDelivery.objects.count(), Event.objects.get().pk) == (0, pk)
    assert audit() == [("ann", f"opened event {pk}", "Dead letter discarded.")]


def test_inbound_mails_have_the_same_actions(database: str, client: Client, inbound: InboundSignal) -> None:
    Recorder(inbound, "desk")
    pks = [store_read_mail() for _ in range(3)]
    for pk in pks:
        add_pending_mail(pk, state="dead", failures=15, receivers=FAILED)
    for action, pk, choices in (
        ("retry", pks[0], {}),
        ("replay", pks[1], {"to": "some", "names": ["desk"]}),
        ("discard", pks[2], {}),
    ):
        url = act_url(INBOUND, action, pk)
        assert "1 of 1 mail." in messages_of(confirm(client, client.get(url), url, **choices))[0]
    assert dict(PendingInboundDelivery.objects.values_list("pk", "state")) == dict.fromkeys(
        pks[:2], "pending"
    )
    assert [row for _, row, _ in audit()] == [f"inbound mail {pk}" for pk in pks]


# Races


def test_a_second_click_changes_nothing(database: str, client: Client, tracking: ReceiverSignal) -> None:
    Recorder(tracking, "shop")
    (pk,) = store_done(open_event("A1"))
    url = act_url(EVENT, "replay", pk)
    page = client.get(url)
    confirm(client, page, url, to="all")
    PendingDelivery.objects.all().delete()  # a worker has delivered the event
    answer = confirm(client, page, url, to="all")
    assert messages_of(answer) == ["This page was confirmed before. Nothing more was changed."]
    assert not PendingDelivery.objects.exists()


@pytest.mark.parametrize("confirmation", ["", "no uuid", "\x00"])
def test_a_confirmation_without_an_id_of_ours_changes_nothing(
    database: str, client: Client, confirmation: str
) -> None:
    (pk,) = dead_letters(1)
    client.post(act_url(EVENT, "retry", pk), {"confirmation": confirmation})
    assert PendingDelivery.objects.get().state == "dead"


def test_rows_that_changed_after_the_preview_are_left_alone_and_counted(
    database: str, client: Client
) -> None:
    first, second = dead_letters(2)
    page = choose(client, url_of(EVENT), "retry", [first, second])
    PendingDelivery.objects.filter(pk=first).update(state="pending", lease=77)
    answer = confirm(client, page, url_of(EVENT))
    assert messages_of(answer)[0].startswith(
        "Retried 1 of 2 events. 1 left alone: a worker has them in hand."
    )
    assert [row for _, row, _ in audit()] == [f"opened event {second}"]


def test_a_change_stands_while_the_broker_is_away(
    database: str, client: Client, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pk,) = dead_letters(1)
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    monkeypatch.setattr("events_app.shared.wakeup._producer", mock.Mock(side_effect=ConnectionError))
    url = act_url(EVENT, "retry", pk)
    (words,) = messages_of(confirm(client, client.get(url), url))
    assert words == (
        "Retried 1 of 1 event. The broker does not answer: a worker takes them up at beat's next tick after "
        "that."
    )
    assert PendingDelivery.objects.get().state == "pending"


# Permissions and hostile requests


@pytest.mark.parametrize("permissions", [VIEWS, ("events_app.act",)])
def test_an_action_requires_the_permissions_to_view_and_to_act(
    database: str, client: Client, permissions: tuple[str, ...]
) -> None:
    (pk,) = dead_letters(1)
    sign_in(client, *permissions, name="bo")
    for action in ("retry", "replay", "discard"):
        url = act_url(EVENT, action, pk)
        assert client.get(url).status_code == client.post(url).status_code == 403
    answer = choose(client, url_of(EVENT), "retry", [pk])
    assert "This would" not in answer.content.decode()
    assert PendingDelivery.objects.get().state == "dead"


def test_a_user_who_may_not_act_sees_no_actions(database: str, client: Client) -> None:
    (pk,) = dead_letters(1)
    sign_in(client, *VIEWS, name="bo")
    assert "_selected_action" not in client.get(url_of(EVENT)).content.decode()
    for action in ("retry", "replay", "discard"):
        assert act_url(EVENT, action, pk) not in client.get(url_of(EVENT, pk)).content.decode()


def test_a_page_has_buttons_for_the_actions_that_would_change_the_row(database: str, client: Client) -> None:
    (dead,) = dead_letters(1)
    (done,) = store_done(open_event("A1"))
    for pk, expected in ((dead, {"retry", "replay", "discard"}), (done, {"replay"})):
        shown = client.get(url_of(EVENT, pk)).content.decode()
        found = {action for action in ("retry", "replay", "discard") if act_url(EVENT, action, pk) in shown}
        assert found == expected


@pytest.mark.parametrize("pk", ["x", "9" * 30, "-1", "1' OR 1=1", "%00", "%ed%a0%80"])
def test_an_unknown_row_is_not_found(database: str, client: Client, pk: str) -> None:
    url = act_url(EVENT, "retry", 1).replace("/1/", f"/{pk}/")
    assert client.get(url).status_code == client.post(url, {"confirmation": "x"}).status_code == 404


@pytest.mark.parametrize("pk", ["x", "9" * 30, "\x00", ""])
def test_a_list_refuses_rows_that_cannot_be(database: str, client: Client, pk: str) -> None:
    for model in (EVENT, DELIVERY):
        answer = client.post(
            url_of(model), {"action": "retry", "index": "0", "_selected_action": [pk]}, follow=True
        )
        assert messages_of(answer) == ["These rows do not exist. Nothing was changed."]


def test_an_unknown_action_is_not_found(database: str, client: Client) -> None:
    (pk,) = dead_letters(1)
    assert client.get(act_url(EVENT, "delete", pk)).status_code == 404


def test_a_confirmation_needs_the_token_of_the_form(database: str, client: Client) -> None:
    (pk,) = dead_letters(1)
    strict = Client(enforce_csrf_checks=True)
    sign_in(strict, *VIEWS, "events_app.act", name="bo")
    confirmation = {"confirmation": "7b9e4e3a-58cd-4b43-9a4b-2f0f5f0c5a11"}
    assert strict.post(act_url(EVENT, "retry", pk), confirmation).status_code == 403
    assert PendingDelivery.objects.get().state == "dead"


# Bounds


def test_more_rows_than_the_limit_get_the_command_in_place_of_a_confirmation(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MOST", 2)
    pks = dead_letters(3)
    query = (
        "?event_type__exact=opened&state=dead&since=2026-07-14T06:30:00&until=&o=1&q=mira.okafor@example.net"
    )
    page = choose(client, url_of(EVENT) + query, "retry", pks, across=True)
    text = page.content.decode()
    assert "More than 2 rows are in this list." in text
    assert page.context["too_many"]["line"] == (
        "manage.py events retry --type=opened --state=dead --since=2026-07-14T06:30:00+00:00 --dry-run"
    )
    assert "q=mira.okafor@example.net" in text
    assert 'name="confirmation"' not in text


@pytest.mark.parametrize(
    ("listed", "line"),
    [
        ((EVENT, ""), "manage.py events replay --all --dry-run"),
        # Not --all: the command refuses to change every row.
        ((EVENT, "?q=mira.okafor@example.net"), "manage.py events replay --dry-run"),
        # Not every event, although the list is not filtered.
        (
            (DELIVERY, ""),
            "manage.py events replay --state=pending --state=retrying --state=dead --dry-run",
        ),
        ((DELIVERY, "?state=dead"), "manage.py events replay --state=dead --dry-run"),
        ((DELIVERY, "?since=+&state=dead"), "manage.py events replay --state=dead --dry-run"),
        ((DELIVERY, "?since=1h&state=dead"), "manage.py events replay --since=1h --state=dead --dry-run"),
    ],
)
def test_the_named_command_takes_no_more_rows_than_the_list(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch, listed: tuple[str, str], line: str
) -> None:
    model, query = listed
    monkeypatch.setattr(actions, "MOST", 0)
    pks = dead_letters(1)
    Event.objects.update(received_at=database_now(database))
    page = choose(client, url_of(model) + query, "replay", pks, across=True)
    assert page.context["too_many"]["line"] == line


def test_the_number_of_queries_of_a_preview_does_not_grow_with_the_rows(
    database: str, client: Client
) -> None:
    counts = []
    pks = dead_letters(50)
    for chosen in (pks[:1], pks):
        with CaptureQueriesContext(connections[database]) as queries:
            choose(client, url_of(EVENT), "retry", chosen)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_confirmed_action_works_in_slices(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "SLICE", 2)
    pks = dead_letters(5)
    page = choose(client, url_of(EVENT), "discard", pks)
    assert messages_of(confirm(client, page, url_of(EVENT))) == ["Discarded 5 of 5 events."]
    assert LogEntry.objects.count() == 5


def test_values_of_rows_are_escaped_in_a_preview(database: str, client: Client) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=15, receivers={"<script>alert(1)</script>": "Traceback\nKeyError"})
    shown = client.get(act_url(EVENT, "retry", pk)).content.decode()
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert(1)" not in shown
