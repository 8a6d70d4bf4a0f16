"""`manage.py outbox`, as an operator and as a program call it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from events_app.shared import redis
from events_app.shared.database import database_now
from sending_app import account
from sending_app.api.client import SendResult
from sending_app.exceptions import Outcome
from sending_app.models import Attachment, Mail, OpenCircuit, OutboxMessage, Recipient
from sending_app.outbox import using
from sending_app.outcome import manual, resend
from tests.support.commands import interrupt_second_call, output_of
from tests.support.databases import database_away
from tests.support.sending.delivery import take_lease, write_result
from tests.support.sending.django_mail import QUEUED, use_backend
from tests.support.sending.mail_events import answer_to_last_mail, event_of_last_mail, receive_events
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox
from tests.support.workers import record_worker

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

KEY = "SG.a-key-that-nobody-is-to-see"


run = partial(output_of, "outbox")


def run_json(*args: object) -> list[Any]:
    return [json.loads(line) for line in run(*args, "--json").splitlines()]


def wake_ups() -> list[str]:
    """The tasks of the wake-ups in the queues."""
    messages = [one for queue in QUEUES for one in redis.for_workers().lrange(queue, 0, -1)]
    return [json.loads(message)["headers"]["task"] for message in messages]


def made(*states: str, **columns: Any) -> list[int]:
    """Mails in these states; their numbers."""
    pks = []
    for state in states:
        put_in_outbox()
        pks.append(Mail.objects.latest("pk").pk)
        Mail.objects.filter(pk=pks[-1]).update(state=state, **columns)
    return pks


def moved(**time: int) -> Any:
    return database_now(using()) + timedelta(**time)


QUEUES = ("sendgrid.mail", "sendgrid.bulk")


@pytest.fixture(autouse=True)
def key_and_no_wake_ups(stream: str, anymail: Callable[..., None]) -> Iterator[None]:
    """Set a key. Start without wake-ups, and leave none."""
    anymail(SENDGRID_API_KEY=KEY)
    redis.for_workers().delete(*QUEUES)
    yield
    redis.for_workers().delete(*QUEUES)


# list


def test_list_shows_the_newest_first_and_says_what_the_limit_leaves_out(database: str) -> None:
    put_in_outbox(mail("mira@example.net", subject=""))
    put_in_outbox(mail("lena@example.net", "bo@example.net"))
    message = OutboxMessage.objects.latest("pk")
    lines = run("list").splitlines()
    assert lines[0].split()[:6] == ["id", "sent", "here", "(UTC)", "state", "lane"]
    at = f"{message.created_at:%Y-%m-%d %H:%M}".split()
    newest, oldest = reversed(all_parts())
    told = [str(newest.pk), *at, "waiting", "mail", "default", "2", "0", "lena@example.net:", "Your", "order"]
    assert lines[1].split() == told
    assert lines[2].split()[-1] == "mira@example.net"
    assert lines[2].split()[0] == str(oldest.pk)
    assert lines[-1] == "2 mails"
    assert run("list", "--limit", 1).splitlines()[-1] == "The newest 1 of 2 mails; --limit 0 lists all."


def test_list_says_when_no_mail_matches(database: str) -> None:
    assert run("list") == run("list", "--address", "nobody@example.net") == "No mail matches.\n"
    assert run_json("list") == []


def test_list_as_json_leaves_nothing_out(database: str) -> None:
    made("failed", error="No such template.\nNone.", attempts=3)
    (found,) = run_json("list")
    assert (found["id"], found["message"], found["state"]) == (
        only_part().pk,
        only_part().message_id,
        "failed",
    )
    assert (found["error"], found["attempts"]) == ("No such template.\nNone.", 3)
    assert (found["first_recipient"], found["recipient_count"]) == ("ann@example.com", 1)
    assert found["subject"] == "Your order"


def test_list_applies_all_filters(database: str) -> None:
    put_in_outbox(mail("ann@example.com", subject="In May"), alias="news")
    put_in_outbox(mail(subject="In June"))
    pk, other = (one.pk for one in all_parts())
    row = Recipient.objects.get(mail=pk)
    Mail.objects.update(sent_twice=True, state="parked")
    filters = ["--address", "ANN@example.com", "--message-id", row.message_id, "--subject", "may"]
    filters += [
        "--mailer",
        "news",
        "--lane",
        "mail",
        "--sent-twice",
        "--since",
        "1h",
        "--until",
        "9999-01-01",
    ]
    filters += ["--message", row.mail.message_id, "--state", "parked", "--state", "failed"]
    assert [found["id"] for found in run_json("list", *filters)] == [pk]
    assert run_json("list", other, *filters) == []
    for changed in (["--state", "failed"], ["--lane", "bulk"], ["--until", "1d"], ["--mailer", "other"]):
        assert run_json("list", *changed) == []


def test_list_filters_by_tag_metadata_outcome_and_the_beginning_of_an_address(database: str) -> None:
    put_in_outbox(mail("ann@example.com", categories=["welcome"], custom_args={"order": "7=8"}))
    put_in_outbox(mail("bo@example.com"))
    pk = all_parts()[0].pk
    Recipient.objects.filter(mail=pk).update(status="bounced")
    for options in (
        ["--tag", "welcome"],
        ["--metadata", "order=7=8"],
        ["--outcome", "bounced", "--outcome", "opened"],
        ["--address", "AN*"],
    ):
        assert [found["id"] for found in run_json("list", *options)] == [pk]
    with pytest.raises(CommandError, match=r"'order' is no metadata\. Write KEY=VALUE"):
        run("list", "--metadata", "order")


@pytest.mark.parametrize("columns", [80, 100, 132, 200])
def test_list_fits_the_width_of_the_terminal(database: str, columns: int) -> None:
    for number in range(9):
        put_in_outbox(mail(f"{'mira' * number}@example.net", subject="s" * 100))
    Mail.objects.filter(pk__in=made("failed", "parked")).update(error="A long story. " * 20)
    lines = run("list", terminal=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert len([line for line in lines if "A long story." in line]) == 2


def test_untrusted_text_sends_no_control_characters_to_the_terminal(database: str) -> None:
    put_in_outbox(mail("\x1b[2Jmira@example.net", subject="\x9b31m\u202e"), alias="\x1b]0;owned\x07")
    said = "\x1b[2J"
    pk = only_part().pk
    Mail.objects.update(state="failed", error=said, log=[{"at": "2026-07-14T12:00:00+00:00", "what": said}])
    OpenCircuit.objects.create(account="x", alias=said, opened_at=moved(), probe_at=moved(), reason=said)
    for shown in (run("list"), run("list", terminal=80), run("show", pk), run("status")):
        assert all(one.isprintable() or one == "\n" for one in shown)


# show


def test_show_prints_everything_of_a_mail(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", cc=["cy@example.com"], attachments=()))
    Attachment.objects.create(message=OutboxMessage.objects.get(), filename="a.pdf", type="x/y", content=b"")
    now = moved()
    Mail.objects.update(state="accepted", attempts=1, attempted_at=now, accepted_at=now, x_message_id="14c5d")
    receive_events(
        event_of_last_mail(1, "delivered", response="250 OK"),
        event_of_last_mail(2, "bounce", "bo@example.com", reason="550 no"),
    )
    receive_events(event_of_last_mail(3, "open"))
    shown = run("show", only_part().pk)
    for said in (
        f"Mail {only_part().pk}\n",
        "state          accepted\n",
        "subject        Your order\n",
        "from           shop@example.com\n",
        "attachments    a.pdf\n",
        "X-Message-Id   14c5d\n",
        f"message id     {Recipient.objects.latest('pk').message_id}\n",
        "ann@example.com  to  delivered  2026-07-14 12:00  opened\n",
        "bo@example.com   to  bounced    2026-07-14 12:00  bounced\n",
        "cy@example.com   cc  queued\n",
        "  posted        attempt 1\n",
        "2026-07-14 12:00:01  delivered     ann@example.com  250 OK\n",
        "2026-07-14 12:00:02  bounced       bo@example.com  bounced: 550 no\n",
    ):
        assert said in shown
    assert "unknown" not in shown
    assert KEY not in shown


def test_show_prints_one_batch_of_a_split_message_and_limits_its_recipients(database: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(1060)), batch=True))
    first, second = (one.pk for one in all_parts())
    Mail.objects.filter(pk=first).update(state="accepted")
    shown = run("show", second)
    assert f"batch          2 of 2 of message {part_of(second)} (1 accepted, 1 waiting)\n" in shown
    assert "p1049@example.net" in shown
    assert "p1050@example.net" not in shown
    assert "  The first 50 of 60 recipients; --all shows all.\n" in shown
    assert "p1059@example.net" in run("show", second, "--all")
    assert len(run_json("show", second)[0]["recipients"]) == 50
    assert len(run_json("show", second, "--all")[0]["recipients"]) == 60


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_show_reads_no_personalizations_and_no_content_with_each_mail(
    database: str, json_option: list[str]
) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(1060)), batch=True))
    with CaptureQueriesContext(connections[using()]) as queries:
        run("show", "--message", OutboxMessage.objects.get().pk, *json_option)
    statements = [query["sql"] for query in queries]
    assert not [sql for sql in statements if '"personalizations"' in sql]
    assert not [sql for sql in statements if '"content"' in sql and '"recipient_count"' in sql]


def part_of(pk: int) -> int:
    return Mail.objects.get(pk=pk).message_id


def test_show_by_address_prints_only_that_recipient(database: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(99)), batch=True))
    receive_events(event_of_last_mail(1, "open", "p98@example.net"))
    shown = run("show", "--address", "P98@example.net")
    assert "p98@example.net  to  queued" in shown
    assert "opened" in shown.partition("What happened")[2]
    assert "p97@example.net" not in shown
    assert "opened" not in run("show", "--address", "p97@example.net")


def test_show_by_address_prints_only_the_events_of_that_recipient(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", "stra\u00dfe@example.com"))
    receive_events(
        event_of_last_mail(1, "delivered", "Ann@Example.com"),
        event_of_last_mail(2, "open"),
        event_of_last_mail(3, "delivered", "bo@example.com"),
    )
    receive_events(event_of_last_mail(4, "delivered", "Stra\u00dfe@example.com"))
    told = run("show", "--address", "BO@example.com").partition("What happened")[2]
    assert " created " in told
    assert "delivered     bo@example.com" in told
    assert "ann@example.com" not in told.lower()
    assert "Stra\u00dfe@" in run("show", "--address", "stra\u00dfe@example.com")
    (found,) = run_json("show", "--address", "bo@example.com")
    assert [one["recipient"] for one in found["timeline"] if one["recipient"]] == ["bo@example.com"]
    shown = run("show", "--message-id", Recipient.objects.latest("pk").message_id)
    assert shown.count("  delivered  ") == 6


def test_show_prints_replies_with_their_sender(database: str) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(1, "open"))
    found = answer_to_last_mail(2, sender="boss@example.com", subject="Re:\x1b[31m your order")
    shown = run("show", only_part().pk)
    assert f"answered      boss@example.com  inbound mail {found.pk}: Re:" in shown
    assert "\x1b" not in shown
    assert "opened        The message" in shown
    (told,) = run_json("show", only_part().pk)
    assert "boss@example.com" in [one["recipient"] for one in told["timeline"] if one["what"] == "answered"]


def test_show_by_address_does_not_count_events_of_others_as_left_out(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com"))
    receive_events(
        *(event_of_last_mail(seconds, "open") for seconds in range(60)),
        event_of_last_mail(3, "open", "bo@example.com"),
    )
    assert "events; --all" in run("show", "--address", "ann@example.com")
    assert "events; --all" not in run("show", "--address", "bo@example.com")


@pytest.mark.parametrize("sender", [None, "shop@example.com", ["shop@example.com"], {"name": "Shop"}, 7])
def test_show_prints_a_mail_with_an_invalid_sender(database: str, sender: Any) -> None:
    put_in_outbox(mail(**{"from": sender}))
    assert "subject        Your order\n" in run("show", only_part().pk)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{}", "missing required field `body`"),
        (b"\xff", "cannot be read"),
        (b'{"body": "\xff"}', "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_show_prints_an_unreadable_mail_and_the_next_one(database: str, content: bytes, says: str) -> None:
    put_in_outbox()
    OutboxMessage.objects.update(content=content)
    log = [{"at": "noon", "what": "x"}, "y", {}, {"at": 7, "what": 8}, {"at": "0001-01-01", "what": "z"}]
    Mail.objects.update(state="failed", log=log)
    put_in_outbox()
    for options in ([], ["--json"]):
        run("show", *(one.pk for one in all_parts()), *options)
    shown = run("show", *(one.pk for one in all_parts()))
    assert says in shown
    assert "  note          y\n" in shown
    assert shown.count("from           shop@example.com") == 1


@pytest.mark.parametrize("number", ["99999999999999999999", "9223372036854775808", "-1", "0"])
def test_an_impossible_message_number_matches_no_mail(database: str, number: str) -> None:
    put_in_outbox()
    assert run("list", "--message", number) == "No mail matches.\n"
    with pytest.raises(CommandError, match="No mail matches"):
        run("show", "--message", number)
    assert run("cancel", "--message", number).startswith("Cancelled 0 of 0 mails.")


def test_show_counts_the_events_it_leaves_out(database: str) -> None:
    made("accepted")
    receive_events(*(event_of_last_mail(seconds, "open") for seconds in range(60)))
    assert "  The first 50 of 60 events; --all shows all.\n" in run("show", only_part().pk)
    assert run("show", only_part().pk, "--all").count("  opened        ") == 60


def test_show_fits_the_timeline_into_the_terminal(database: str) -> None:
    log = [{"at": "2026-07-14T12:00:00+00:00", "what": "A long story. " * 20}]
    (pk,) = made("failed", log=log)
    lines = run("show", pk, terminal=80).partition("What happened")[2].splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith(" " * 37 + "long story. A")
    assert len(run("show", pk).partition("What happened")[2].splitlines()) == 3


def test_show_prints_a_mail_whose_content_was_removed(database: str) -> None:
    made("failed")
    OutboxMessage.objects.update(content=None, subject="")
    assert "content        gone, its time was over\n" in run("show", only_part().pk)


def test_show_prints_a_mail_as_json(database: str) -> None:
    made("failed", log=[{"at": "2026-07-14T12:00:00+00:00", "what": "Refused."}])
    (found,) = run_json("show", only_part().pk)
    assert (found["state"], found["log"][0]["what"]) == ("failed", "Refused.")
    assert [moment["what"] for moment in found["timeline"]] == ["failed", "created"]
    (recipient,) = found["recipients"]
    assert (recipient["address"], recipient["status"]) == ("ann@example.com", "queued")
    assert recipient["message_id"] == str(Recipient.objects.get().message_id)


def test_show_names_missing_ids_after_the_mails_it_found(database: str) -> None:
    made("waiting")
    out = StringIO()
    with pytest.raises(CommandError, match="No mail has the id C3, 0") as raised:
        call_command("outbox", "show", str(only_part().pk), "C3", "0", stdout=out)
    assert raised.value.returncode == 1
    assert f"Mail {only_part().pk}\n" in out.getvalue()


def test_show_requires_ids_or_filters(database: str) -> None:
    for options in ((), ("--all",)):
        with pytest.raises(CommandError, match="Say which mails"):
            run("show", *options)
    with pytest.raises(CommandError, match="No mail matches"):
        run("show", "--state", "parked")


# retry, cancel, settle


def test_retry_takes_failed_mails_and_wakes_workers(database: str) -> None:
    made("failed", "failed", "posting", "accepted", "parked")
    Mail.objects.filter(pk=made("failed")[0]).update(personalizations=None)
    assert run("retry", "--since", "1h").splitlines() == [
        "Retried 2 of 6 mails.",
        "1 left alone: a worker is posting them.",
        "1 left alone: what they said is gone, at the end of OUTBOX_BODY_DAYS.",
        "2 with nothing to retry: accepted, due already, cancelled, or to be settled first.",
        "A worker takes them up now, or at beat's next tick.",
    ]
    assert Mail.objects.filter(state="waiting").count() == 2
    assert wake_ups() == ["sending.deliver", "sending.deliver_bulk"]


def test_retry_takes_refused_recipients_by_id_alone(database: str) -> None:
    (refused,) = made("failed", refused=True)
    made("failed")
    assert "Would retry 1 of 2 mails." in run("retry", "--state", "failed", "--dry-run")
    assert run("retry", "--state", "failed").splitlines()[:2] == [
        "Retried 1 of 2 mails.",
        "1 left alone: SendGrid refuses their recipients; name a mail by its id to post it all the same.",
    ]
    assert "Would retry 1 of 1 mail." in run("retry", refused, "--dry-run")
    assert run("retry", refused).splitlines()[0] == "Retried 1 of 1 mail."


def test_show_and_status_tell_of_split_mails(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", batch=True))
    lease = take_lease()
    write_result(lease, SendResult(Outcome.FAILED, 400, detail="No such address.", refused=frozenset({1})))
    first, refused = all_parts()
    page = run("show", refused.pk)
    assert "SendGrid refuses its recipients: only a retry by its id posts it." in page
    assert f"It was a part of mail {first.pk}." in page
    assert f"2 of 2 of message {first.message_id} (1 failed, 1 waiting)" in page
    assert "bob@example.com" in page
    assert "ann@example.com" not in page
    assert f"The refused recipients (1) are mail {refused.pk} now." in " ".join(run("show", first.pk).split())
    (as_json,) = run_json("show", refused.pk)
    assert (as_json["refused"], as_json["split_from"]) == (True, first.pk)
    assert "SendGrid refuses the recipients of 1 failed mail." in run("status").splitlines()
    assert run_json("status")[0]["refused"] == 1


def test_cancel_wakes_no_worker(database: str) -> None:
    made("waiting", "parked", "failed")
    assert run("cancel", "--all").splitlines() == [
        "Cancelled 2 of 3 mails.",
        "1 with nothing to cancel: accepted, or given up already.",
    ]
    assert wake_ups() == []


def test_park_wakes_no_worker(database: str) -> None:
    made("waiting", "unknown", "parked")
    assert run("park", "--all").splitlines() == [
        "Parked 2 of 3 mails.",
        "1 with nothing to park: accepted, failed, rejected, cancelled, or parked already.",
    ]
    assert wake_ups() == []


def test_settle_as_sent_marks_mails_accepted(database: str) -> None:
    pks = made("parked", "unknown", "waiting")
    assert run("settle", *pks, "--sent").splitlines() == [
        "Settled 2 of 3 mails.",
        "1 with nothing to settle: neither unknown nor parked.",
    ]
    assert Mail.objects.filter(state="accepted").count() == 2
    assert wake_ups() == []


def test_settle_as_not_sent_makes_mails_due_and_warns_of_a_second_send(database: str) -> None:
    (pk,) = made("parked")
    assert run("settle", pk, "--not-sent").splitlines() == [
        "Settled 1 of 1 mail.",
        "A worker takes them up now, or at beat's next tick.",
        "If SendGrid has them after all, their recipients get them twice.",
    ]
    assert only_part().state == "waiting"
    assert wake_ups() == ["sending.deliver", "sending.deliver_bulk"]


def test_settle_requires_sent_or_not_sent(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    (pk,) = made("parked")
    for options in ((), ("--sent", "--not-sent")):
        with pytest.raises(CommandError, match="--not-sent"):
            run("settle", pk, *options)
    with pytest.raises(SystemExit):
        run("settle", "--help")
    assert "recipients get\n            them TWICE" in capsys.readouterr().out


def test_cancel_says_when_event_feedback_proves_acceptance(database: str) -> None:
    (pk,) = made("parked", accepted_at=moved())
    said = run("cancel", pk)
    assert said.startswith("Cancelled 0 of 1 mail.\n1 left alone: there is proof by now")
    assert only_part().state == "accepted"


def test_retry_cancel_and_settle_print_their_counts_as_json(database: str) -> None:
    made("failed", "posting", "accepted")
    others = {"in_progress": 1, "accepted": 0, "empty": 0, "refused": 0}
    assert run_json("retry", "--all") == [{"matched": 3, "retried": 1, **others}]
    assert run_json("cancel", "--all") == [{"matched": 3, "cancelled": 1, **others}]
    assert run_json("settle", "--all", "--sent") == [{"matched": 3, "settled": 0, **others}]


CHANGES = pytest.mark.parametrize("action", [["retry"], ["cancel"], ["settle", "--sent"]])


@CHANGES
def test_operator_actions_without_a_filter_require_all(database: str, action: list[str]) -> None:
    made("failed", "waiting", "parked")
    for options in ((), ("--dry-run",), ("--json",)):
        with pytest.raises(CommandError, match=r"Say which mails: .* Or --all\."):
            run(*action, *options)
    assert "ed 1 of " in run(*action, "--all", "--state", "failed", "--state", "parked").replace("2", "1")


@CHANGES
def test_operator_actions_name_missing_ids_and_take_the_others(database: str, action: list[str]) -> None:
    taken = {"retry": "failed", "cancel": "waiting", "settle": "parked"}[action[0]]
    (pk,) = made(taken)
    said = run(*action, pk, "C3")
    assert "No mail has the id C3" in said
    assert " 1 of 1 mail.\n" in said


def test_a_dry_run_prints_the_mails_it_would_take(database: str) -> None:
    made("waiting", "waiting", "parked", "posting")
    put_in_outbox(alias="news")
    before = list(Mail.objects.order_by("pk").values())
    assert run("cancel", "--all", "--dry-run").splitlines() == [
        "mails  state    lane  mailer",
        "    2  waiting  mail  default",
        "    1  parked   mail  default",
        "    1  waiting  mail  news",
        "Would cancel 4 of 5 mails. Nothing was changed.",
    ]
    (found,) = run_json("settle", "--sent", "--all", "--dry-run")
    assert found == {
        "dry_run": True,
        "matched": 5,
        "would_settle": 1,
        "groups": [{"state": "parked", "lane": "mail", "mailer": "default", "mails": 1}],
    }
    assert list(Mail.objects.order_by("pk").values()) == before
    assert wake_ups() == []


def test_a_dry_run_counts_in_the_database(database: str) -> None:
    made("waiting", "waiting")
    with CaptureQueriesContext(connections[database]) as queries:
        run("cancel", "--all", "--dry-run")
    assert not [query["sql"] for query in queries if "x_message_id" in query["sql"]]


def test_retry_works_in_slices_and_shows_a_progress_bar_on_a_terminal(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "SLICE", 10)
    made(*["failed"] * 25)
    said = run("retry", "--all", terminal=80)
    assert "100%" in said
    assert "Retried 25 of 25 mails.\n" in said


def test_an_interrupted_retry_prints_how_many_mails_it_retried(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "SLICE", 10)
    made(*["failed"] * 25)
    interrupt_second_call(monkeypatch, manual, "retry_mails")
    out = StringIO()
    with pytest.raises(CommandError, match="Interrupted") as raised:
        call_command("outbox", "retry", "--all", stdout=out)
    assert raised.value.returncode == 130
    assert out.getvalue().startswith("Retried 10 of 25 mails.\n")
    assert wake_ups() == ["sending.deliver", "sending.deliver_bulk"]


# resend and probe


def test_resend_sends_finished_mails_again(database: str) -> None:
    made("accepted", "waiting")
    assert run("resend", "--all", "--dry-run").splitlines() == [
        "mails  state     lane  mailer",
        "    1  accepted  mail  default",
        "1 recipient would get a mail (again).",
        "Would resend 1 of 2 mails. Nothing was changed.",
    ]
    assert run("resend", "--all").splitlines() == [
        "Resent 1 of 2 mails.",
        "1 with nothing to send again: waiting, being posted, or unknown.",
        "A worker takes them up now, or at beat's next tick.",
        "Recipients who have the first mail get a second one.",
    ]
    assert wake_ups() == ["sending.deliver", "sending.deliver_bulk"]
    assert [part.state for part in all_parts()] == ["accepted", "waiting", "waiting"]
    assert all_parts()[0].log[-1]["what"] == f"by hand: sent again as mail {all_parts()[-1].pk}"


def test_resend_sends_no_copy_again_that_a_worker_posts_meanwhile(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("accepted", "accepted", "accepted")
    send_again = resend.resend_mails
    calls: list[object] = []

    def with_a_fast_worker(*args: Any) -> Counter[str]:
        assert len(calls) < 9, "endless"
        calls.append(args)
        try:
            return send_again(*args)
        finally:
            Mail.objects.filter(state="waiting").update(state="accepted")

    monkeypatch.setattr(resend, "SLICE", 1)
    monkeypatch.setattr(resend, "resend_mails", with_a_fast_worker)
    assert run("resend", "--all").splitlines()[0] == "Resent 3 of 3 mails."
    assert Mail.objects.count() == 6


def test_probe_makes_the_probe_of_paused_accounts_due(database: str) -> None:
    for alias in ("default", "news"):
        OpenCircuit.objects.create(
            account=alias, alias=alias, opened_at=moved(), probe_at=moved(minutes=9), status_code=401
        )
    assert run("probe", "--mailer", "news", "--dry-run").splitlines() == [
        "accounts  mailer  status",
        "       1  news       401",
        "Would probe 1 of 1 account. Nothing was changed.",
    ]
    assert run("probe", "--mailer", "news").splitlines() == [
        "Probed 1 of 1 account.",
        "A worker takes them up now, or at beat's next tick.",
        "If SendGrid still refuses the account, the pause gets longer.",
    ]
    assert list(OpenCircuit.objects.filter(probe_at__gt=moved()).values_list("alias", flat=True)) == [
        "default"
    ]
    assert json.loads(run("probe", "--all", "--json")) == {"matched": 2, "probed": 1}
    with pytest.raises(CommandError, match=r"Say which account: --mailer ALIAS, or --all\."):
        run("probe")


# status


def test_status_of_an_empty_outbox(database: str) -> None:
    record_worker()
    assert run("status").splitlines() == [
        "lane  state    mails",
        "mail  waiting      0",
        "bulk  waiting      0",
    ]


def test_status_prints_the_states_of_each_lane_and_warnings(database: str) -> None:
    made("waiting", due=moved(minutes=-20))
    made("waiting", due=moved(seconds=300))
    made("posting", "parked", "failed", "accepted", "cancelled")
    made("unknown", due=moved(seconds=301))
    made("accepted", sent_twice=True)
    put_in_outbox(mail(bulk=True))
    (found,) = run_json("status")
    waiting = found["waiting"]
    assert found["mails"]["mail"] == {
        "waiting": 2,
        "posting": 1,
        "unknown": 1,
        "parked": 1,
        "failed": 1,
        "rejected": 0,
    }
    assert found["mails"]["bulk"]["waiting"] == waiting["bulk"]["due_now"] == 1
    assert waiting["mail"]["due_now"] == 1
    assert 1200 <= waiting["mail"]["seconds_due"] < 1260
    assert 240 < waiting["mail"]["seconds_to_next"] <= 300
    assert 240 < found["seconds_to_reconcile"] <= 301
    assert (found["sent_twice"], found["without_account"], found["open_circuits"]) == (1, {}, [])
    said = run("status")
    assert "mail  waiting      2  1 due now, the first for 20 minutes, the next in " in said
    assert "mail  unknown      1  SendGrid may have them; its events tell, or it is decided in " in said
    assert "mail  parked       1  nobody knows whether SendGrid has them: outbox settle\n" in said
    assert "SendGrid has accepted 1 mail twice: list --sent-twice\n" in said
    late = (
        "WARNING: Nobody posts the mail lane: the first mail has been due for 20 minutes. Does a worker run, "
    )
    assert f"{late}with the queue sendgrid.mail?\n" in said
    assert "bulk lane" not in said


def test_status_names_the_lane_without_a_worker(database: str, settings: Settings) -> None:
    use_backend(settings, QUEUED)
    record_worker("sendgrid.bulk")
    assert run("status").splitlines()[-1] == (
        "ERROR: No worker takes mails: queue sendgrid.mail. Start a worker with -Q sendgrid.mail. "
        "Until then this work waits."
    )
    assert run_json("status")[0]["workers"] == {"sendgrid.bulk": 1, "sendgrid.mail": 0}


def test_status_without_redis_prints_the_mails_and_fails(database: str, settings: Settings) -> None:
    use_backend(settings, QUEUED)
    out = StringIO()
    with (
        override_settings(ANYMAIL={**settings.ANYMAIL, "EVENT_REDIS_URL": "redis://127.0.0.1:1/0"}),
        pytest.raises(CommandError, match=r"^Redis cannot be asked: ConnectionError"),
    ):
        call_command("outbox", "status", stdout=out)
    assert "mail  waiting      0\n" in out.getvalue()


def test_status_prints_open_circuit_breakers_with_the_error_text(database: str) -> None:
    record_worker()
    made("waiting", due=moved(minutes=-20))
    words = "The provided authorization grant is invalid, expired, or revoked"
    columns = {"opened_at": moved(), "failures": 3, "status_code": 401}
    mine = {"account": account.named("default").fingerprint, "alias": "default"}
    until = OpenCircuit.objects.create(
        **mine, probe_at=moved(seconds=30), reason=f"{words}\nmore", **columns
    ).probe_at
    OpenCircuit.objects.create(account="old", alias="default", probe_at=moved(), **columns)
    said = run("status").splitlines()
    assert said[-3].split() == ["paused", "mailer", "tried", "again", "(UTC)", "tries", "SendGrid's", "words"]
    assert said[-2].split()[0] == "default"
    assert f"{until:%Y-%m-%d %H:%M:%S}" in said[-2]
    assert said[-2].endswith(f"      3  401 {words}")
    assert said[-1].startswith("default (old key)")
    assert "WARNING" not in "".join(said)
    pauses = run_json("status")[0]["open_circuits"]
    assert [(pause["failures"], pause["in_use"]) for pause in pauses] == [(3, True), (3, False)]


def test_status_warns_of_a_mailer_without_an_api_key(database: str, anymail: Callable[..., None]) -> None:
    put_in_outbox(alias="gone")
    assert "WARNING: 1 mail for the mailer gone, which has no API key. Give " in run("status")
    anymail(SENDGRID_API_KEY=None)
    put_in_outbox()
    assert run_json("status")[0]["without_account"] == {"default": 1, "gone": 1}


# Whatever is asked


@pytest.mark.parametrize(
    "action",
    [["list"], ["show", "1"], ["retry", "1"], ["cancel", "1"], ["settle", "1", "--sent"], ["status"]],
)
def test_actions_without_the_database_fail_with_a_plain_error(database: str, action: list[str]) -> None:
    with (
        database_away(database),
        pytest.raises(CommandError, match="cannot be asked: OperationalError") as raised,
    ):
        run(*action)
    assert "migrate" not in str(raised.value)


def test_a_missing_table_is_an_error_that_advises_migrate(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("ALTER TABLE sending_app_mail RENAME TO renamed_mail")
        try:
            with pytest.raises(CommandError, match=r"sending_app_mail.*\(Did manage\.py migrate run\?\)"):
                run("list")
        finally:
            cursor.execute("ALTER TABLE renamed_mail RENAME TO sending_app_mail")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list", "--since", "yesterday"], "argument --since: 'yesterday' is no time. Write a date"),
        (["list", "--state", "lost"], "invalid choice: 'lost'"),
        (["list", "--lane", "fast"], "invalid choice: 'fast'"),
        (["list", "--message", "x"], "invalid int value: 'x'"),
        (["list", "--limit", "-1"], "'-1' is no limit. Write how many to list (1, 50, 1000), or 0 for all."),
        (["list", "--limit", "9" * 20], "is no limit. Write how many"),
        ([], "required: ACTION"),
    ],
)
def test_an_invalid_argument_is_an_error_with_advice(args: list[str], says: str) -> None:
    with pytest.raises(CommandError) as raised:
        run(*args)
    assert says in str(raised.value)


def test_no_action_prints_an_api_key(database: str) -> None:
    made("waiting", "failed")
    OpenCircuit.objects.create(
        account=account.named("default").fingerprint, alias="default", opened_at=moved(), probe_at=moved()
    )
    printed = "".join(
        run(*args, *more)
        for args in (("list",), ("show", "--state", "failed"), ("status",))
        for more in ((), ("--json",))
    )
    assert KEY not in printed
