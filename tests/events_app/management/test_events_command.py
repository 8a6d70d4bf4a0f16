"""`manage.py events`, as an operator and as a program call it."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from events_app import stream, tasks
from events_app.dispatch import leases, replay, store
from events_app.management.commands import events as command
from events_app.models import Event, PendingDelivery
from events_app.shared import counters, redis
from events_app.shared import database as shared_database
from events_app.shared.counting import KEY, count
from events_app.signals import ReceiverSignal
from tests.support.brokers import queued_tasks
from tests.support.commands import TRACEBACK, interrupt_second_call, output_of
from tests.support.databases import database_away
from tests.support.events.leases import FAILED, TOKEN, later
from tests.support.events.stored_events import add_pending, open_event, store_done, stream_entries
from tests.support.recorded_calls import Recorder
from tests.support.workers import record_worker

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


run = partial(output_of, "events")


def run_json(*args: object) -> list[Any]:
    return [json.loads(line) for line in run(*args, "--json").splitlines()]


@pytest.fixture(autouse=True)
def quiet(stream: str) -> Iterator[None]:
    """No wake-up is left in a queue by another test, or for one."""
    server, left = redis.for_workers(), ["sendgrid.retries", "sendgrid.recovery", redis.key("beat")]
    server.delete(*left)
    yield
    server.delete(*left)


# list


def test_list_shows_the_newest_first_and_says_what_the_limit_leaves_out(database: str) -> None:
    store_done(open_event("A1", email="mira@example.net"), open_event("B2", email="lena@example.net"))
    assert run("list", "--limit", 1).splitlines()[-1] == "The newest 1 of 2 events; --limit 0 lists all."
    lines = run("list").splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["id", "received", "(UTC)", "type", "state", "tries", "recipient", "why"]
    newest = Event.objects.order_by("-pk")[0]
    assert lines[1].split() == [str(newest.pk), "2026-07-14", "12:00", "opened", "done", newest.recipient]
    assert lines[-1] == "2 events"
    assert run("list", "--limit", 0) == run("list")


def test_list_says_when_no_event_matches(database: str) -> None:
    assert run("list") == run("list", "--address", "nobody@example.net") == "No event matches.\n"
    assert run_json("list") == []


def test_list_as_json_leaves_nothing_out(database: str) -> None:
    first, second = store_done(open_event("A1", email="m" * 300), open_event("B2"))
    add_pending(first, state="dead", failures=15, receivers={"shop": TRACEBACK}, error="Given up.")
    dead, done = sorted(run_json("list"), key=lambda found: found["state"])
    assert (done["id"], done["event_id"], done["pending"]) == (second, "B2", None)
    assert (dead["id"], dead["recipient"], dead["event_type"]) == (first, "m" * 300, "opened")
    assert dead["pending"]["receivers"] == {"shop": TRACEBACK}
    assert (dead["pending"]["failures"], dead["pending"]["error"]) == (15, "Given up.")
    assert dead["received_at"].startswith("2026-07-14T12:00:00")


def test_list_applies_all_filters(database: str) -> None:
    pks = store_done(*(open_event(name, anymail_id="m1", event="bounce") for name in "ABC"), open_event("D"))
    add_pending(pks[0], state="dead", failures=1, receivers=FAILED)
    add_pending(pks[1], failures=1, receivers=FAILED)
    filters = ["--message-id", "m1", "--address", "MIRA.okafor@example.net", "--type", "bounced"]
    filters += ["--type", "opened", "--since", "2026-07-14", "--until", "2026-07-15"]
    filters += ["--state", "dead", "--state", "done"]
    assert {found["id"] for found in run_json("list", *filters)} == {pks[0], pks[2]}
    assert [found["id"] for found in run_json("list", *filters, "--receiver", "shop")] == [pks[0]]
    assert run_json("list", pks[1], *filters) == []


def test_list_reads_many_events_in_slices(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_database, "SLICE", 10)
    pks = store_done(*(open_event(f"{number:02d}") for number in range(25)))
    lines = run("list", "--limit", 0).splitlines()
    assert [int(line.split()[0]) for line in lines[1:-1]] == sorted(pks, reverse=True)
    assert len(run_json("list", "--limit", 15)) == 15


@pytest.mark.parametrize("columns", [60, 80, 100, 132, 200])
def test_list_fits_the_width_of_the_terminal(database: str, columns: int) -> None:
    pks = store_done(
        *(open_event(f"{at}", email=f"{'mira' * at}@example.net", event="bounce") for at in range(20))
    )
    for pk in pks[::2]:
        add_pending(
            pk,
            state="dead",
            failures=15,
            receivers={"shop.receivers.stop_mailing": TRACEBACK, "x": "y" * 99},
        )
    lines = run("list", terminal=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("id")
    assert len([line for line in lines if "shop.receivers.stop_mailing: Conn" in line]) == 10
    assert any(" dead " in line and "15" in line and "mira" in line for line in lines)


def test_untrusted_text_sends_no_control_characters_to_the_terminal(database: str) -> None:
    (pk,) = store_done(
        open_event("A1", email="\x1b[2Jmira@example.net", useragent="\x9b31m\u202e", order="\ud800")
    )
    add_pending(pk, state="dead", failures=1, receivers={"shop\n": "ValueError: \x1b]0;owned\x07"})
    for shown in (run("list"), run("list", terminal=80), run("show", pk)):
        assert all(one.isprintable() or one == "\n" for one in shown)
        assert "\\x1b[2jmira@example.net" in shown.replace("2J", "2j")


# show


def test_show_prints_everything_of_an_event(database: str) -> None:
    (pk,) = store_done(
        open_event("A1", event="click", url="https://example.net/?a=b", order="77", timestamp=1784000000)
    )
    add_pending(
        pk,
        due=later(database),
        failures=3,
        worker_deaths=1,
        receivers={"shop.stop": TRACEBACK, "bank.note": ""},
    )
    shown = run("show", "A1")
    for said in (
        f"Event {pk}\n",
        "state          retrying\n",
        "failed tries   3\n",
        "worker deaths  1\n",
        "failed         shop.stop\n",
        "not reached    bank.note\n",
        "received       2026-07-14 12:00:00 UTC\n",
        "timestamp      2026-07-14 03:33:20 UTC\n",
        "click_url      https://example.net/?a=b\n",
        'metadata       {"order": "77"}\n',
        "Receiver shop.stop\n    Traceback (most recent call last):\n",
        "    ConnectionError: the shop is closed\n",
        '      "url": "https://example.net/?a=b",\n',
    ):
        assert said in shown
    assert "esp_event" not in shown


def test_show_prints_an_unreadable_event_as_it_was_posted(database: str) -> None:
    store.store(stream_entries(b'{"event": "op\xff'), leases.Lease())
    (found,) = run_json("show", "--state", "dead")
    assert found["raw"] == '{"event": "op\\xff'
    assert (found["event"], found["state"]) == (None, "dead")
    assert "is not JSON" in found["unreadable"]
    shown = run("show", found["id"])
    assert '    {"event": "op\\xff' in shown
    assert "unreadable     The element is not JSON" in shown


def test_show_prints_an_event_as_json(database: str) -> None:
    first, _ = store_done(open_event("A1", order=float("nan")), open_event("B2"))
    found, _ = run_json("show", "--type", "opened")
    assert found["id"] == first
    assert found["event"]["metadata"] == {"order": "NaN"}
    assert found["event"]["event_type"] == "opened"
    assert "esp_event" not in found["event"]
    assert '"order": NaN' in found["raw"]


def test_show_names_missing_ids_after_the_events_it_found(database: str) -> None:
    (pk,) = store_done(open_event("A1"))
    out = StringIO()
    with pytest.raises(CommandError, match="No event has the id C3, 0") as raised:
        call_command("events", "show", str(pk), "C3", "0", stdout=out)
    assert raised.value.returncode == 1
    assert f"Event {pk}\n" in out.getvalue()


def test_show_requires_ids_or_filters(database: str) -> None:
    store_done(open_event("A1"))
    with pytest.raises(CommandError, match="Say which events"):
        run("show")
    with pytest.raises(CommandError, match="No event matches"):
        run("show", "--type", "clicked")


# retry


def test_retry_takes_failed_events_and_wakes_workers(database: str, tracking: ReceiverSignal) -> None:
    shop = Recorder(tracking, "shop")
    pks = store_done(*(open_event(name) for name in "ABCDE"))
    add_pending(pks[0], state="dead", failures=15, receivers=FAILED)
    add_pending(pks[1], due=later(database), failures=2, receivers=FAILED)
    add_pending(pks[2], due=later(database), failures=2, receivers=FAILED, lease=TOKEN)
    add_pending(pks[3], state="dead", error="Given up: its worker died.")
    said = run("retry", "--address", "mira.okafor@example.net")
    assert said.splitlines() == [
        "Retried 3 of 5 events.",
        "1 left alone: a worker has them in hand.",
        "1 with nothing to retry: done, or not tried yet.",
        "A worker takes them up now, or at beat's next tick.",
    ]
    assert queued_tasks() == {"events.retry", "events.recover"}
    assert counters.read_counters() == {"events_retried_by_operator": 3}
    tasks.retry_events()
    tasks.recover_events()
    assert sorted(name for name, _, _ in shop.calls if name) == ["A", "B", "D"]
    assert PendingDelivery.objects.get().pk == pks[2]


def test_retry_prints_its_counts_as_json(database: str) -> None:
    pks = store_done(open_event("A1"), open_event("B2"))
    add_pending(pks[0], state="dead", failures=1)
    add_pending(pks[1], failures=1, lease=TOKEN)
    assert run_json("retry", *pks) == [{"matched": 2, "retried": 1, "in_progress": 1}]
    assert run_json("retry", "--state", "dead") == [{"matched": 0, "retried": 0, "in_progress": 0}]


@pytest.mark.parametrize("action", ["retry", "replay"])
def test_retry_and_replay_without_a_filter_require_all(database: str, action: str) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=1)
    for options in ((), ("--dry-run",), ("--json",)):
        with pytest.raises(CommandError, match=r"Say which events: .* Or --all\."):
            run(action, *options)
    assert PendingDelivery.objects.get().state == "dead"
    run(action, "--all")
    assert PendingDelivery.objects.get().state == "pending"


@pytest.mark.parametrize("action", ["retry", "replay"])
def test_retry_and_replay_name_missing_ids_and_take_the_others(database: str, action: str) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=1)
    said = run(action, pk, "C3")
    assert "No event has the id C3" in said
    assert " 1 of 1 event.\n" in said


def test_retry_works_in_slices_and_shows_a_progress_bar_on_a_terminal(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_database, "SLICE", 10)
    pks = store_done(*(open_event(f"{number:02d}") for number in range(25)))
    for pk in pks:
        add_pending(pk, state="dead", failures=1)
    assert "%" not in run("retry", "--all", "--dry-run")
    said = run("retry", "--all", terminal=80)
    assert "100%" in said
    assert "Retried 25 of 25 events.\n" in said
    assert PendingDelivery.objects.filter(state="pending").count() == 25
    assert "%" not in run("retry", "--all", "--json", terminal=80)


def test_an_interrupted_retry_prints_how_many_events_it_retried(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_database, "SLICE", 10)
    for pk in store_done(*(open_event(f"{number:02d}") for number in range(25))):
        add_pending(pk, state="dead", failures=1)
    interrupt_second_call(monkeypatch, replay, "retry")
    out = StringIO()
    with pytest.raises(CommandError, match="Interrupted") as raised:
        call_command("events", "retry", "--all", stdout=out)
    assert raised.value.returncode == 130
    assert out.getvalue().startswith("Retried 10 of 25 events.\n")
    assert queued_tasks() == {"events.retry", "events.recover"}


@pytest.mark.parametrize("action", ["retry", "replay"])
def test_retry_and_replay_succeed_without_redis_and_broker(
    database: str, anymail: Callable[..., None], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk, state="dead", failures=1)
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    monkeypatch.setattr("events_app.shared.wakeup._producer", mock.Mock(side_effect=ConnectionError))
    assert "The broker does not answer: a worker takes them up" in run(action, pk)
    assert leases.anything_to_retry()


# discard


def test_discard_gives_dead_letters_up_and_leaves_other_events_alone(database: str) -> None:
    dead, retrying = store_done(open_event("A1"), open_event("B2"))
    add_pending(dead, state="dead", failures=15)
    add_pending(retrying, failures=1)
    assert run("discard", "--all", "--dry-run").endswith(
        "Would discard 1 of 2 events. Nothing was changed.\n"
    )
    assert run("discard", "--all").splitlines() == [
        "Discarded 1 of 2 events.",
        "1 left alone: no dead letters.",
    ]
    assert list(PendingDelivery.objects.values_list("pk", flat=True)) == [retrying]


# replay


def test_replay_takes_done_events_and_dead_letters_and_wakes_workers(
    database: str, tracking: ReceiverSignal
) -> None:
    shop = Recorder(tracking, "shop")
    pks = store_done(open_event("A1"), open_event("B2"), open_event("C3"))
    add_pending(pks[1], state="dead", failures=15, receivers=FAILED)
    add_pending(pks[2], failures=1)
    said = run("replay", "--all", "--to", "shop")
    assert said.splitlines() == [
        "Replayed 2 of 3 events.",
        "1 left alone: still pending (to call the receivers of deferred ones now: events retry).",
        "A worker takes them up now, or at beat's next tick.",
    ]
    assert queued_tasks() == {"events.retry"}
    assert counters.read_counters() == {"events_replayed": 2}
    PendingDelivery.objects.filter(pk=pks[2]).delete()
    tasks.retry_events()
    assert sorted(shop.calls) == [("A1", 1, True), ("B2", 1, True)]


def test_replay_prints_its_counts_as_json(database: str) -> None:
    pks = store_done(open_event("A1"), open_event("B2"))
    add_pending(pks[0])
    assert run_json("replay", *pks) == [{"matched": 2, "replayed": 1, "pending": 1}]


def test_replay_refuses_a_receiver_that_is_not_connected(database: str, tracking: ReceiverSignal) -> None:
    (pk,) = store_done(open_event("A1"))
    with pytest.raises(CommandError, match=r"No receiver shop is connected\. There are: none"):
        run("replay", pk, "--to", "shop")
    Recorder(tracking, "shop")
    Recorder(tracking, "bank")
    with pytest.raises(CommandError, match=r"No receiver post is connected\. There are:\n  bank\n  shop"):
        run("replay", pk, "--to", "shop", "--to", "post")
    assert not PendingDelivery.objects.exists()


# Before it is done


def test_a_dry_run_prints_the_events_it_would_take(database: str) -> None:
    pks = store_done(
        *(open_event(name) for name in "ABC"), *(open_event(name, event="bounce") for name in "DEF")
    )
    add_pending(pks[0], state="dead", failures=1, receivers={"shop": "Traceback", "bank": ""})
    add_pending(pks[1], state="dead", failures=1, receivers={"shop": "Traceback"})
    add_pending(pks[3], failures=1, receivers={"shop": "Traceback", "bank": "Traceback"})
    add_pending(pks[4], failures=1, lease=TOKEN)
    before = list(PendingDelivery.objects.order_by("pk").values())
    assert run("retry", "--all", "--dry-run").splitlines() == [
        "events  type     state     receivers",
        "     2  opened   dead      shop",
        "     1  bounced  retrying  bank, shop",
        "Would retry 3 of 6 events. Nothing was changed.",
    ]
    assert run("replay", "--type", "opened", "--dry-run").splitlines()[-1].startswith("Would replay 3 of 3")
    (found,) = run_json("replay", "--all", "--dry-run")
    assert (found["dry_run"], found["matched"], found["would_replay"]) == (True, 6, 4)
    assert {"type": "bounced", "state": "done", "receivers": [], "events": 1} in found["groups"]
    assert list(PendingDelivery.objects.order_by("pk").values()) == before
    assert (queued_tasks(), counters.read_counters()) == (set(), {})


def test_a_dry_run_without_matches_prints_zero_events(database: str) -> None:
    assert run("retry", "--all", "--dry-run") == "Would retry 0 of 0 events. Nothing was changed.\n"


# status


def test_status_of_an_idle_deployment(database: str) -> None:
    tasks.record_beat()
    record_worker()
    lines = run("status").splitlines()
    assert lines[0] == "Waiting in Redis, to be stored: 0"
    assert re.fullmatch(r"The last tick of beat's came \d+ seconds? ago\.", lines[1])
    assert [line.split()[:2] for line in lines[4:]] == [["pending", "0"], ["retrying", "0"], ["dead", "0"]]


def test_status_prints_backlog_pending_events_failed_receivers_and_counters(database: str) -> None:
    stream.append("tracking", [b"{}", b"{}"])
    redis.for_workers().set(redis.key("beat"), redis.for_workers().time()[0] - 90)
    count(counters.EVENTS_DUPLICATE, by=7)
    count(counters.WEBHOOK_POSTS, "tracking", "403", "credentials", by=2)
    redis.for_workers().hset(redis.key(KEY), "of_another_version", 1)
    pks = store_done(*(open_event(name) for name in "ABCDEFG"))
    add_pending(pks[0])
    add_pending(pks[1], failures=1, receivers={'the "shop"': "Traceback", "bank": ""})
    add_pending(pks[2], failures=1, due=later(database, 600), receivers={"bank": "Traceback"})
    add_pending(pks[3], state="dead", failures=9, receivers={"bank": "Traceback", 'the "shop"': "Traceback"})
    add_pending(pks[4], state="dead")
    add_pending(pks[5], lease=TOKEN, due=later(database))
    add_pending(pks[6], lease=TOKEN, replay=True)
    (found,) = run_json("status")
    assert 90 <= found.pop("seconds_since_beat") < 120
    assert 590 < found["pending"].pop("seconds_to_next") <= 600
    assert 0 <= found.pop("seconds_waiting_in_redis") < 30
    assert found == {
        "waiting_in_redis": 2,
        "workers": {
            "sendgrid.events": 0,
            "sendgrid.inbound": 0,
            "sendgrid.recovery": 0,
            "sendgrid.retries": 0,
        },
        "pending": {
            "pending": 2,
            "pending_in_progress": 1,
            "retrying": 3,
            "retrying_in_progress": 0,
            "due_now": 1,
            "to_recover": 1,
            "dead": 2,
        },
        "failed_receivers": {"bank": {"retrying": 1, "dead": 1}, 'the "shop"': {"retrying": 1, "dead": 1}},
        "counters": {
            "events_duplicate": 7,
            "of_another_version": 1,
            "webhook_posts tracking 403 credentials": 2,
        },
    }
    said = run("status")
    assert "WARNING: The last tick of beat's came 9" in said
    assert "pending        2  1 in a worker's hands\n" in said
    assert "retrying       3  1 due now, the next in " in said
    assert "Being taken up one at a time, as their worker died or by hand: 1\n" in said
    assert "webhook_posts tracking 403 credentials  2  Posts by webhook, answer and reason\n" in said
    assert 'the "shop"              1     1\n' in said


def test_status_advises_to_dedupe_by_content_when_ids_mislead(
    database: str, anymail: Callable[..., None]
) -> None:
    assert not re.search("ADVICE|NOTE|DEDUPE_BY", run("status"))
    count(counters.EVENTS_ID_CHANGED, by=3)
    count(counters.EVENTS_ID_CHANGED_OPENED, by=4)
    count(counters.EVENTS_ID_REUSED, by=5)
    said = run("status")
    assert re.search(r'ADVICE: .*another id \(3 of a sample\).*DEDUPE_BY"\] to "content"', said)
    assert re.search(r'ADVICE: 4 opens and clicks.*DEDUPE_BY = "content"', said)
    assert re.search(r'WARNING: 5 events.* are lost\..*DEDUPE_BY"\] to "content"', said)
    assert run_json("status")[0]["counters"] == {
        "events_id_changed": 3,
        "events_id_changed_opened": 4,
        "events_id_reused": 5,
    }
    anymail(DEDUPE_BY="content")
    assert not re.search("ADVICE|NOTE|DEDUPE_BY", run("status"))


def test_status_says_when_beat_never_ticked(database: str) -> None:
    assert "WARNING: No tick of beat's has ever come" in run("status")


def test_status_names_the_queues_without_a_worker(database: str) -> None:
    record_worker("sendgrid.events", "sendgrid.retries", "sendgrid.inbound")
    said = run("status")
    assert re.findall("(?m)^ERROR: .*", said) == [
        "ERROR: No worker takes events of workers that died: queue sendgrid.recovery. "
        "Start a worker with -Q sendgrid.recovery. Until then this work waits."
    ]
    assert run_json("status")[0]["workers"]["sendgrid.events"] == 1


def test_status_says_that_events_wait_for_too_long(database: str) -> None:
    redis.for_workers().xadd(redis.key(), {"d": "tracking", "r": b""}, id="1-1")
    said = run("status")
    assert re.search(r"WARNING: The oldest event in Redis has waited for \d+ days\. Does a worker", said)


def test_status_says_that_the_backlog_is_at_its_limit(database: str, anymail: Callable[..., None]) -> None:
    stream.append("tracking", [b"{}", b"{}"])
    anymail(EVENT_BACKLOG_LIMIT=2)
    assert run("status").startswith(
        "ERROR: Waiting in Redis, to be stored: 2. The webhook answers 503 above 2 events. Start more workers"
    )


def test_status_without_redis_prints_the_database_figures_and_fails(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    out = StringIO()
    with pytest.raises(CommandError, match=r"^Redis cannot be asked: ConnectionError: .*$") as raised:
        call_command("events", "status", stdout=out)
    assert raised.value.returncode == 1
    assert "dead           0" in out.getvalue()
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("events", "status", "--json", stdout=out)
    assert json.loads(out.getvalue())["counters"] is None


def test_status_without_the_database_prints_the_redis_figures_and_fails(database: str) -> None:
    out = StringIO()
    with (
        database_away(database),
        pytest.raises(CommandError, match=r"^The database cannot be asked: OperationalError"),
    ):
        call_command("events", "status", stdout=out)
    assert out.getvalue().startswith("Waiting in Redis, to be stored: 0\n")


@pytest.mark.parametrize("action", ["list", "show", "retry", "replay"])
def test_actions_without_the_database_fail_with_a_plain_error(database: str, action: str) -> None:
    with (
        database_away(database),
        pytest.raises(CommandError, match="The database cannot be asked: OperationalError"),
    ):
        run(action, "--state", "dead")


def test_an_unusable_setting_is_named_in_the_error(database: str, anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="luck")
    with pytest.raises(CommandError, match="DEDUPE_BY"):
        run("status")


# Arguments


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list", "--since", "yesterday"], "argument --since: 'yesterday' is no time. Write a date"),
        (["list", "--limit", "-1"], "Write how many to list (1, 50, 1000), or 0 for all"),
        (["list", "--state", "deadd"], "invalid choice: 'deadd'"),
        (["retry", "--type", "bounce"], "invalid choice: 'bounce'"),
        (["retry", "--limit", "3"], "unrecognized arguments"),
        ([], "required: ACTION"),
    ],
)
def test_an_invalid_argument_is_an_error_with_advice(args: list[str], says: str) -> None:
    with pytest.raises(CommandError) as raised:
        run(*args)
    assert says in str(raised.value)


@pytest.mark.parametrize("options", [["--verbosity", "0"], ["-v", "2"], ["--no-color"], ["--force-color"]])
def test_django_options_are_accepted_before_and_after_the_action(database: str, options: list[str]) -> None:
    assert run(*options, "list") == run("list", *options) == "No event matches.\n"


def test_a_closed_output_pipe_is_no_error(database: str) -> None:
    store_done(open_event("A1"))
    with (
        mock.patch.object(command.Command, "_list", side_effect=BrokenPipeError),
        mock.patch("os.dup2") as redirected,
        mock.patch("sys.stdout", mock.Mock(fileno=lambda: 1)),
    ):
        run("list")
    assert redirected.called
