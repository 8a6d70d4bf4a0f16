"""`manage.py inbound`, as an operator and as a program call it."""

import json
from collections.abc import Callable
from email.message import EmailMessage
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from events_app import tasks
from events_app.inbound import storage, store
from events_app.models import InboundMail, PendingInboundDelivery
from events_app.shared import counters
from events_app.signals import ReceiverSignal
from fake_sendgrid import inbound_form as posts
from tests.support.brokers import queued_tasks
from tests.support.commands import TRACEBACK, Terminal, output_of
from tests.support.databases import database_away
from tests.support.events.leases import FAILED, TOKEN, later
from tests.support.inbound.mails import add_pending_mail, keep_mail, sample_mail, store_read_mail
from tests.support.recorded_calls import Recorder

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

run = partial(output_of, "inbound")


def run_json(*args: object) -> list[Any]:
    return [json.loads(line) for line in run(*args, "--json").splitlines()]


def kept(mail: Any) -> int:
    """One that a worker has read, with nothing pending; its id."""
    row = keep_mail(mail)
    store.read_mail(row)
    PendingInboundDelivery.objects.filter(pk=row.pk).delete()
    return row.pk


def with_files() -> EmailMessage:
    found = sample_mail(subject="Ein Café", text="Grüße\n\x1b[2J\n> früher\n")
    found["Cc"] = "boss@example.com"
    found["Date"] = "Tue, 14 Jul 2026 08:00:00 +0200"
    found.add_alternative('<p>Grüße <img src="cid:logo"></p>', subtype="html")
    body = found.get_body(("html",))
    assert isinstance(body, EmailMessage)
    body.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png", disposition="inline")
    found.add_attachment(b"%PDF-1.7", "application", "pdf", filename="order\u202e.pdf")
    return found


# list


def test_list_shows_the_newest_first_with_sender_subject_and_error(database: str) -> None:
    first = store_read_mail(
        sender="mira@example.net", recipient="desk@example.com", subject="Where is it?", answers="0c5c1a52"
    )
    again = store_read_mail(
        sender="mira@example.net", subject="Where\nis it?", duplicate_of_id=first, answers="0c5c1a52"
    )
    unread = store_read_mail()
    add_pending_mail(first, state="dead", failures=15, worker_deaths=1, receivers={"desk": TRACEBACK})
    add_pending_mail(unread)
    lines = [line.split("  ") for line in run("list").splitlines()]
    header, *cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert header == ["id", "received (UTC)", "state", "tries", "mark", "from: subject (to)", "why"]
    at, mail = "2026-07-14 12:00", "mira@example.net: Where is it? (desk@example.com)"
    assert cells == [
        [str(unread), at, "pending", "0"],
        [str(again), at, "done", "answer, duplicate", "mira@example.net: Where is it?"],
        [str(first), at, "dead", "16", "answer", mail, "desk: ConnectionError: the shop is closed"],
        ["3 mails"],
    ]


def test_list_says_what_the_limit_leaves_out(database: str) -> None:
    store_read_mail(), store_read_mail()
    assert run("list", "--limit", 1).splitlines()[-1] == "The newest 1 of 2 mails; --limit 0 lists all."
    assert run("list", "--duplicates") == "No mail matches.\n"


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_list_fits_the_terminal_and_sends_it_no_control_characters(database: str, columns: int) -> None:
    for at in range(20):
        pk = store_read_mail(sender=f"{'mira' * at}@example.net", subject="\x1b]0;own\x07" * at)
        add_pending_mail(pk, state="dead", error="The file with the post is not in the storage.")
    said = run("list", terminal=columns)
    assert max(map(len, said.splitlines())) <= columns
    assert said.count("The file with the post is") == 20
    assert all(one.isprintable() or one == "\n" for one in said)


def test_list_prints_mails_as_json(database: str) -> None:
    first = store_read_mail(sender="mira@example.net", message_id="<a@b.example>", subject="Hello", size=77)
    again = store_read_mail(duplicate_of_id=first, answers="0c5c1a52")
    add_pending_mail(first, state="dead", failures=15, receivers={"desk": TRACEBACK}, error="Given up.")
    done, dead = run_json("list")
    assert (done["id"], done["duplicate_of"], done["answers"]) == (again, first, "0c5c1a52")
    assert (done["state"], done["pending"]) == ("done", None)
    assert (dead["sender"], dead["message_id"], dead["subject"]) == (
        "mira@example.net",
        "<a@b.example>",
        "Hello",
    )
    assert (dead["size"], dead["webhook"]) == (77, "inbound")
    assert dead["file"] == InboundMail.objects.get(pk=first).file
    assert dead["pending"]["receivers"] == {"desk": TRACEBACK}


def test_list_applies_all_filters(database: str) -> None:
    pks = [store_read_mail(sender="mira@example.net", subject="An Order", answers="m1") for _ in range(3)]
    add_pending_mail(pks[0], state="dead", failures=1, receivers=FAILED)
    add_pending_mail(pks[1], failures=1, receivers=FAILED)
    InboundMail.objects.filter(pk__in=pks[1:]).update(duplicate_of=pks[0])
    filters = ["--address", "Mira@example.net", "--subject", "order", "--answers", "m1"]
    filters += ["--since", "2026-07-14", "--until", "2026-07-15", "--state", "dead", "--state", "done"]
    assert {found["id"] for found in run_json("list", *filters)} == {pks[0], pks[2]}
    assert [found["id"] for found in run_json("list", *filters, "--receiver", "shop")] == [pks[0]]
    assert [found["id"] for found in run_json("list", *filters, "--duplicates")] == [pks[2]]
    assert run_json("list", pks[1], *filters) == []


# show


def test_show_prints_everything_of_a_mail(database: str) -> None:
    form = posts.raw_form(
        with_files(), envelope_from="bounces@example.org", envelope_to=["a@b.example"], spam=6.5
    )
    pk, again = kept(form), kept(form)
    InboundMail.objects.filter(pk=pk).update(answers="0c5c1a52")
    add_pending_mail(pk, due=later(database), failures=3, receivers={"desk.open": TRACEBACK, "bank.note": ""})
    shown = run("show", "1@mail.example.org", "--answers", "0c5c1a52")
    for said in (
        f"Mail {pk}\n",
        "state          retrying\n",
        "failed tries   3\n",
        "failed         desk.open\n",
        "not reached    bank.note\n",
        "answers        0c5c1a52\n",
        f"duplicates     {again}\n",
        "Message-ID     <1@mail.example.org>\n",
        f"file           {InboundMail.objects.get(pk=pk).file}\n",
        f"bytes          {len(form.body())}\n",
        "from           Zoë <Zoe@example.org>\n",
        "to             Desk <desk@parse.example.com>\n",
        "cc             boss@example.com\n",
        "subject        Ein Café\n",
        "date           2026-07-14 06:00:00 UTC\n",
        "envelope_from  bounces@example.org\n",
        "envelope_to    a@b.example\n",
        "sender_ip      198.51.100.77\n",
        "spf            pass\n",
        'dkim           {"example.org": "pass"}\n',
        "spam           yes\n",
        "spam_score     6.5\n",
        "\nText\n    Grüße\n    \\x1b[2J\n    > früher\n",
        "Receiver desk.open\n    Traceback (most recent call last):\n",
        "    ConnectionError: the shop is closed\n",
    ):
        assert said in shown
    assert shown[shown.index("\nFiles") :].splitlines()[1:5] == [
        "Files",
        "  name             type             bytes",
        "  order\\u202e.pdf  application/pdf      8",
        "  logo.png         image/png            4  inline",
    ]
    assert "<img" not in shown
    assert f"duplicate of   {pk}\n" in run("show", again)


def test_show_of_an_unprocessed_mail_records_nothing(database: str) -> None:
    mail = keep_mail(sample_mail())
    assert "subject        A question\n" in run("show", mail.pk)
    assert InboundMail.objects.get().key is None


def test_show_prints_the_beginning_of_a_long_text(database: str) -> None:
    pk = kept(sample_mail(text="word " * 1000 + "at last"))
    shown = run("show", pk)
    assert "\nText, the first 1000 of 500" in shown
    assert "at last" not in shown
    assert run_json("show", pk)[0]["mail"]["text"].strip().endswith("at last")


def test_show_prints_an_html_only_mail_as_source(database: str) -> None:
    mail = sample_mail()
    mail.set_content("<p onclick='x()'>Grüße</p>", subtype="html")
    assert "\nHTML\n    <p onclick='x()'>Grüße</p>" in run("show", kept(mail))


def test_show_prints_an_empty_mail(database: str) -> None:
    pk = kept(posts.raw_form(b"\n"))
    assert "As it is read today\n" in run("show", pk)
    assert run_json("show", pk)[0]["mail"]["text"] in (None, "")


def test_show_prints_a_mail_as_json(database: str) -> None:
    pk = kept(with_files())
    (found,) = run_json("show", pk)
    assert (found["id"], found["unreadable"]) == (pk, "")
    mail = found["mail"]
    assert (mail["from"], mail["date"]) == ("Zoë <Zoe@example.org>", "2026-07-14T08:00:00+02:00")
    assert mail["html"].startswith("<p>Grüße")
    assert mail["attachments"] == [
        {"name": "order\u202e.pdf", "type": "application/pdf", "size": 8, "inline": False},
        {"name": "logo.png", "type": "image/png", "size": 4, "inline": True},
    ]


def test_show_says_in_one_line_why_a_post_is_unreadable(database: str) -> None:
    pk = keep_mail(b"nothing of the kind").pk
    assert "unreadable     The post is no multipart form by its Content-Type.\n" in run("show", pk)
    (found,) = run_json("show", pk)
    assert (found["mail"], found["unreadable"]) == (
        None,
        "The post is no multipart form by its Content-Type.",
    )


def test_show_says_in_one_line_that_the_file_is_missing(database: str) -> None:
    mail = keep_mail(sample_mail())
    storages[storage.ALIAS].delete(mail.file)
    assert "unreadable     The file with the post is not in the storage. Does" in run("show", mail.pk)


def test_show_says_in_one_line_that_the_storage_is_away(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = kept(sample_mail())
    monkeypatch.setattr(storage, "read_file", _away)
    assert "unreadable     The storage did not give the post: ConnectionResetError.\n" in run("show", pk)
    with pytest.raises(CommandError, match="The storage did not give the post: ConnectionResetError"):
        run("save", pk)


def _away(name: str) -> bytes:
    raise ConnectionResetError("https://key:secret@storage")


def test_show_requires_ids_or_filters(database: str) -> None:
    kept(sample_mail())
    with pytest.raises(CommandError, match="Say which mails"):
        run("show")
    with pytest.raises(CommandError, match="No mail matches"):
        run("show", "--duplicates")
    with pytest.raises(CommandError, match=r"No mail has the id <x@y\.example>\."):
        run("show", "<x@y.example>")


# save


def saved(*args: object) -> bytes:
    """What goes into a pipe."""
    pipe = BytesIO()
    out = TextIOWrapper(pipe, write_through=True)
    call_command("inbound", "save", *map(str, args), stdout=out)
    return pipe.getvalue()


def test_save_writes_the_mail_as_it_was_sent(database: str, tmp_path: Path) -> None:
    mime = b"From: a@example.org\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nX-One: 1\r\n folded\r\n\r\nna\xefve\r\n"
    pk = kept(posts.raw_form(mime))
    file = tmp_path / "mail.eml"
    assert run("save", pk, file) == f"{len(mime)} bytes written to {file}.\n"
    assert file.read_bytes() == saved(pk) == mime


def test_save_writes_the_raw_post_of_an_unreadable_mail(database: str) -> None:
    pk = keep_mail(b"\xffnothing of the kind").pk
    with pytest.raises(CommandError, match=r"no multipart form .* \(--post saves what SendGrid posted"):
        saved(pk)
    assert saved(pk, "--post") == b"\xffnothing of the kind"
    storages[storage.ALIAS].delete(InboundMail.objects.get(pk=pk).file)
    with pytest.raises(CommandError, match=r"^The file with the post is not in the storage\. Does"):
        saved(pk, "--post")


def test_save_overwrites_no_file(database: str, tmp_path: Path) -> None:
    pk = kept(sample_mail())
    file = tmp_path / "mail.eml"
    file.write_text("mine")
    for name in (file, tmp_path / "nowhere" / "mail.eml"):
        with pytest.raises(CommandError, match=rf"^{name} cannot be written: .+\.$"):
            run("save", pk, name)
    assert file.read_text() == "mine"


def test_save_requires_one_mail_and_a_file_or_pipe(database: str) -> None:
    first, again = kept(sample_mail()), kept(sample_mail())
    with pytest.raises(CommandError, match="No mail has the id 0"):
        saved(0)
    with pytest.raises(CommandError, match=rf"Say which by its number: {first}, {again}\."):
        saved("1@mail.example.org")
    assert b"A question" in saved(again)
    with pytest.raises(CommandError, match="Say which file, or use a pipe"):
        call_command("inbound", "save", str(first), stdout=Terminal())


# retry and replay


def test_retry_takes_failed_mails_and_wakes_workers(database: str, inbound: ReceiverSignal) -> None:
    desk = Recorder(inbound, "shop")
    pks = [kept(sample_mail(number)) for number in range(5)]
    add_pending_mail(pks[0], state="dead", failures=15, receivers=FAILED)
    add_pending_mail(pks[1], due=later(database), failures=2, receivers=FAILED)
    add_pending_mail(pks[2], due=later(database), failures=2, receivers=FAILED, lease=TOKEN)
    add_pending_mail(pks[3], state="dead", error="The file with the post is not in the storage.")
    said = run("retry", "--address", "zoe@example.org")
    assert said.splitlines() == [
        "Retried 3 of 5 mails.",
        "1 left alone: a worker has them in hand.",
        "1 with nothing to retry: done, or not tried yet.",
        "A worker takes them up now, or at beat's next tick.",
    ]
    assert queued_tasks() == {"inbound.retry", "inbound.recover"}
    assert counters.read_counters() == {"events_retried_by_operator": 3}
    tasks.retry_inbound()
    tasks.recover_inbound()
    assert {pk for pk, _, _ in desk.calls} == set(map(str, [pks[0], pks[1], pks[3]]))
    assert len(desk.calls) == 3
    assert PendingInboundDelivery.objects.get().pk == pks[2]


def test_replay_takes_done_mails_and_dead_letters_and_wakes_workers(
    database: str, inbound: ReceiverSignal
) -> None:
    desk = Recorder(inbound, "shop")
    pks = [kept(sample_mail(number)) for number in range(3)]
    add_pending_mail(pks[1], state="dead", failures=15, receivers=FAILED)
    add_pending_mail(pks[2], failures=1, due=later(database))
    said = run("replay", "--all", "--to", "shop")
    assert said.splitlines() == [
        "Replayed 2 of 3 mails.",
        "1 left alone: still pending (to call the receivers of deferred ones now: inbound retry).",
        "A worker takes them up now, or at beat's next tick.",
    ]
    assert queued_tasks() == {"inbound.retry"}
    tasks.retry_inbound()
    assert set(desk.calls) == {(str(pk), 1, True) for pk in pks[:2]}


def test_retry_and_replay_print_their_counts_as_json(database: str) -> None:
    pks = [store_read_mail(), store_read_mail()]
    add_pending_mail(pks[0], state="dead", failures=1)
    add_pending_mail(pks[1], failures=1, lease=TOKEN)
    assert run_json("retry", *pks) == [{"matched": 2, "retried": 1, "in_progress": 1}]
    assert run_json("replay", *pks) == [{"matched": 2, "replayed": 0, "pending": 2}]


def test_replay_refuses_a_receiver_of_events(database: str, tracking: ReceiverSignal) -> None:
    Recorder(tracking, "shop")
    with pytest.raises(CommandError, match=r"No receiver shop is connected\. There are: none"):
        run("replay", store_read_mail(), "--to", "shop")


@pytest.mark.parametrize("action", ["retry", "replay"])
def test_retry_and_replay_without_a_filter_require_all(database: str, action: str) -> None:
    add_pending_mail(store_read_mail(), state="dead", failures=1)
    with pytest.raises(CommandError, match=r"Say which mails: .* Or --all\."):
        run(action)
    assert PendingInboundDelivery.objects.get().state == "dead"
    run(action, "--all")
    assert PendingInboundDelivery.objects.get().state == "pending"


def test_a_dry_run_prints_the_mails_it_would_take(database: str) -> None:
    pks = [store_read_mail() for _ in range(4)]
    add_pending_mail(pks[0], state="dead", failures=1, receivers={"shop": "Traceback", "bank": ""})
    add_pending_mail(pks[1], state="dead", failures=1, receivers={"shop": "Traceback"})
    add_pending_mail(pks[2], failures=1, receivers={"shop": "Traceback", "bank": "Traceback"})
    before = list(PendingInboundDelivery.objects.order_by("pk").values())
    assert run("retry", "--all", "--dry-run").splitlines() == [
        "mails  state     receivers",
        "    2  dead      shop",
        "    1  retrying  bank, shop",
        "Would retry 3 of 4 mails. Nothing was changed.",
    ]
    (found,) = run_json("replay", "--all", "--dry-run")
    assert {"state": "done", "receivers": [], "mails": 1} in found["groups"]
    assert list(PendingInboundDelivery.objects.order_by("pk").values()) == before
    assert (queued_tasks(), counters.read_counters()) == (set(), {})


# Errors


@pytest.mark.parametrize("action", ["list", "show", "retry", "replay", "save"])
def test_actions_without_the_database_fail_with_a_plain_error(database: str, action: str) -> None:
    with (
        database_away(database),
        pytest.raises(CommandError, match="The database cannot be asked: OperationalError"),
    ):
        run(action, "1")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list", "--type", "bounced"], "unrecognized arguments"),
        (["save"], "required: ID"),
        (["status"], "invalid choice: 'status'"),
        ([], "required: ACTION"),
    ],
)
def test_an_invalid_argument_is_an_error(args: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run(*args)


# events status


status = partial(output_of, "events", "status")


def test_events_status_prints_inbound_mails(database: str, anymail: Callable[..., None]) -> None:
    pks = [store_read_mail() for _ in range(4)]
    add_pending_mail(pks[0], due=later(database, -7500))
    add_pending_mail(
        pks[1], failures=1, due=later(database, 640), receivers={"desk": "Traceback", "bank": ""}
    )
    add_pending_mail(pks[2], state="dead", failures=9, receivers={"desk": "Traceback"})
    add_pending_mail(pks[3], lease=TOKEN, due=later(database, -1))
    (found,) = map(json.loads, status("--json").splitlines())
    inbound = found["inbound"]
    assert 600 < inbound["pending"].pop("seconds_to_next") <= 640
    assert 7500 <= inbound["seconds_waiting"] < 7600
    assert inbound["failed_receivers"] == {"desk": {"retrying": 1, "dead": 1}}
    assert inbound["pending"] == {
        "pending": 2,
        "pending_in_progress": 0,
        "retrying": 1,
        "retrying_in_progress": 0,
        "due_now": 0,
        "to_recover": 1,
        "dead": 1,
    }
    assert (found["pending"]["pending"], found["failed_receivers"]) == (0, {})
    said = status()
    assert said[said.index("state     inbound") :].splitlines()[:9] == [
        "state     inbound mails",
        "pending               2  0 in a worker's hands",
        "retrying              1  0 due now, the next in 10 minutes",
        "dead                  1  dead letters",
        "Being taken up one at a time, as their worker died or by hand: 1",
        "WARNING: The first inbound mail in the database has waited for 2 hours. "
        "Does a worker run, with the queue sendgrid.inbound?",
        "",
        "failed receiver  retrying  dead",
        "desk                    1     1",
    ]


def test_events_status_does_not_warn_of_mails_that_are_on_time(database: str) -> None:
    add_pending_mail(store_read_mail())
    add_pending_mail(store_read_mail(), failures=1, due=later(database, -7500))
    said = status()
    assert "inbound mails" in said
    assert "Does a worker run" not in said


def test_events_status_omits_inbound_mails_where_there_are_none(database: str) -> None:
    assert "inbound mails" not in status().partition("\n\n")[2]
    assert "inbound" not in json.loads(status("--json"))
    store_read_mail()
    assert "pending               0" in status()
