"""An inbound mail that is answered with 200 is kept and reaches each receiver, whatever happens."""

import random
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from fake_sendgrid import inbound
from fake_sendgrid.events import history
from fake_sendgrid.form import Form, Part
from fake_sendgrid.webhook import Sender
from ground.postgres import Postgres
from ground.process import wait_for
from tests.flows.conftest import Servers
from tests.flows.databases import on_postgres, on_sqlite
from tests.flows.desk import Desk
from tests.flows.witness import deeds
from tests.flows.witness.book import Call

OTHER_KEY = Sender().public_key


def mail(number: int = 1, subject: str = "A question", text: str = "Where is it?\n") -> EmailMessage:
    found = EmailMessage()
    found["From"] = "Zoë <zoe@example.org>"
    found["To"] = "Desk <desk@parse.example.com>"
    found["Subject"] = subject
    found["Message-ID"] = f"<{number}@mail.example.org>"
    found.set_content(text)
    return found


def ids(*numbers: int) -> list[str]:
    return [f"<{number}@mail.example.org>" for number in numbers]


@pytest.mark.quick
@pytest.mark.parametrize("mode", [inbound.raw, inbound.parsed], ids=["raw", "parsed"])
def test_a_mail_reaches_each_receiver_once(desk: Desk, mode: Callable[..., Form]) -> None:
    desk.web()
    desk.worker()
    blob = random.Random(1).randbytes(100_000)
    sent = mail(subject="Grüße", text="Wo bleibt die Bestellung?\n")
    sent.add_attachment(blob, maintype="image", subtype="png", filename="Überblick.png")

    assert desk.post_mail(mode(sent, envelope_to=["desk@parse.example.com", "shop@parse.example.com"])) == 200

    desk.wait_for_states("done")
    (letter,) = desk.letters()
    assert letter.subject == "Grüße"
    assert letter.text.strip() == "Wo bleibt die Bestellung?"
    assert letter.envelope_recipients == ["desk@parse.example.com", "shop@parse.example.com"]
    assert letter.attachments == {"Überblick.png": sha256(blob).hexdigest()}
    assert (letter.answers, letter.repeat_of) == (None, None)
    assert {call.receiver for call in desk.book.calls()} == {"reader", "clerk"}
    assert len(desk.files()) == 1


@on_sqlite
def test_a_mail_of_30_megabytes(desk: Desk) -> None:
    desk.web()
    desk.worker()
    blob = random.Random(2).randbytes(22_000_000)
    large = mail()
    large.add_attachment(blob, maintype="application", subtype="zip", filename="all.zip")

    assert desk.post_mail(large) == 200

    desk.wait_for_states("done")
    assert desk.letters()[0].attachments == {"all.zip": sha256(blob).hexdigest()}


def test_a_receiver_that_fails_is_called_again_alone_until_its_mail_is_given_up(desk: Desk) -> None:
    desk.configure(RECEIVER_RETRY_DELAY=1, RECEIVER_MAX_ATTEMPTS=2)
    desk.web()
    desk.worker()
    late, lost = ids(1, 2)
    desk.book.order(late, deeds.fail, tries=1)
    desk.book.order(lost, deeds.fail)

    for number in (1, 2, 3):
        assert desk.post_mail(mail(number)) == 200

    desk.wait_for_states("done", "dead", "done")
    calls = desk.book.calls()
    assert sorted(call for call in calls if call.receiver == "clerk") == [
        Call("clerk", late, 1, False),
        Call("clerk", late, 2, False),
        Call("clerk", lost, 1, False),
        Call("clerk", lost, 2, False),
        Call("clerk", ids(3)[0], 1, False),
    ]
    assert sorted(call.event_id for call in calls if call.receiver == "reader") == ids(1, 2, 3)
    assert desk.mails()[1].error == "Given up: a receiver failed 2 times."

    desk.book.withdraw(lost)
    assert "Retried 1 of 1" in desk.stack.manage("inbound", "retry", "--state", "dead")
    desk.wait_for_states("done", "done", "done")
    assert "Replayed 1 of 1" in desk.stack.manage("inbound", "replay", lost, "--to", "reader")
    desk.wait_until(lambda: Call("reader", lost, 1, True) in desk.book.calls(), "a replay to one receiver")
    assert [call for call in desk.book.calls() if call.replay] == [Call("reader", lost, 1, True)]


def test_a_worker_killed_with_a_mail_in_its_hands(desk: Desk) -> None:
    desk.web()
    worker = desk.worker()
    (held,) = ids(1)
    desk.book.order(held, deeds.hold, tries=1)
    assert desk.post_mail(mail(1)) == 200
    desk.wait_until(lambda: Call("clerk", held, 1, False) in desk.book.calls(), "the mail is in its hands")

    worker.kill()
    desk.lapse()
    desk.worker(name="successor")

    desk.wait_for_states("done")
    assert [call.attempt for call in desk.book.calls() if call.receiver == "clerk"] == [1, 2]
    assert [letter.message_id for letter in desk.letters()] == [held]


@on_sqlite
def test_a_mail_made_to_take_long_is_read_at_once_and_the_events_behind_it_are_stored(desk: Desk) -> None:
    """Its headers took the standard library half a minute, and each new try did."""
    desk.configure(RECEIVER_TIME_LIMIT=1)
    desk.web()
    desk.worker("--concurrency", "1")
    head = f"Message-ID: {ids(1)[0]}\nContent-Type: multipart/mixed; boundary=b\n\n".encode()
    hostile = head + (b"--b\nContent-Type: " + b'"' * 3990 + b"\n\nx\n") * 236 + b"--b--\n"
    events = history(10)

    assert desk.post_mail(hostile) == 200
    assert desk.post(events) == 200

    desk.settle(len(events))
    desk.wait_for_states("done")
    calls = desk.book.calls()
    assert {call.attempt for call in calls} == {1}
    assert {call.receiver for call in calls if call.event_id == ids(1)[0]} == {"clerk", "reader"}


@on_sqlite
def test_no_event_waits_for_a_mail_where_inbound_has_its_own_worker(desk: Desk) -> None:
    desk.web()
    desk.events_worker()
    desk.inbound_worker()
    (held,) = ids(1)
    desk.book.order(held, deeds.hold, tries=1)
    assert desk.post_mail(mail(1)) == 200
    desk.wait_until(lambda: Call("clerk", held, 1, False) in desk.book.calls(), "the mail is in its hands")

    events = history(10)
    assert desk.post(events) == 200
    desk.settle(len(events))
    assert desk.states() == ["owed"]
    desk.book.withdraw(held)
    desk.wait_for_states("done")


@on_sqlite
def test_a_proxy_that_sends_it_on_in_chunks(desk: Desk) -> None:
    desk.web()
    desk.worker()
    body, content_type = inbound_post(inbound.raw(mail(1)))
    headers = desk.sender.headers(body, content_type=content_type)

    for whole in (body[:-200], body):
        pieces = (whole[at : at + 100] for at in range(0, len(whole), 100))
        answer = requests.post(desk.stack.inbound_url, data=pieces, headers=headers, timeout=10)
        assert answer.status_code == (200 if whole == body else 503)

    desk.wait_for_states("done")
    assert [letter.message_id for letter in desk.letters()] == ids(1)


@on_sqlite
def test_what_nobody_can_read_is_kept_with_a_reason_and_its_neighbours_arrive(desk: Desk) -> None:
    desk.web()
    desk.worker()
    level = b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n'
    deep = b"".join(level % (number, number) for number in range(5000))
    odd = inbound.parsed(mail(4)).replaced("charsets", b'{"text": "klingon", "html": 7}').without("envelope")
    bad: list[tuple[bytes, str]] = [
        (b"\x00\xff nothing of the kind", "multipart/form-data; boundary=xYzZY"),
        (b'{"email": "From: a"}', "application/json"),
        (b"", "text/plain"),
        inbound_post(inbound.raw(mail()).without("email")),
        inbound_post(Form((Part("email", deep),))),
        inbound_post(inbound.raw(mail()), cut=100),
    ]

    for body, content_type in bad:
        answer = desk.sender.post(desk.stack.inbound_url, body, content_type=content_type)
        assert answer.status_code == (200 if body else 503)
    assert desk.post_mail(b"\xff\xfe\x00 no header at all \x80") == 200
    assert desk.post_mail(odd) == 200

    dead = ["dead"] * 5
    desk.wait_for_states(*dead, "done", "done")
    for lost in desk.mails()[:5]:
        assert lost.error
        assert "zoe" not in lost.error
    assert [letter.message_id for letter in desk.letters()] == ["", *ids(4)]
    assert len(desk.files()) == 7


def inbound_post(form: Form, cut: int = 0) -> tuple[bytes, str]:
    body = form.body()
    return body[: len(body) - cut], form.content_type


def test_a_mail_posted_again_is_marked_and_not_dropped(desk: Desk) -> None:
    desk.web()
    desk.worker()

    for _ in range(2):
        assert desk.post_mail(inbound.parsed(mail(1))) == 200
        desk.wait_for_states(*["done"] * len(desk.mails()))
    assert desk.post_mail(inbound.parsed(mail(1), envelope_to=["other@parse.example.com"])) == 200

    desk.wait_for_states("done", "done", "done")
    assert [row.repeat_of for row in desk.mails()] == [None, 1, None]
    assert [letter.repeat_of for letter in desk.letters()] == [None, "1", None]


@on_sqlite
def test_no_storage_no_200_and_later_the_same_post_is_taken(desk: Desk) -> None:
    desk.web()
    desk.worker()
    desk.store.mkdir(exist_ok=True)
    away = desk.store.rename(desk.folder / "away")
    desk.store.write_text("a file where the folder was")

    came = desk.sendgrid.receive(mail(1))
    desk.wait_until(lambda: len(came.statuses) >= 2, "two posts in vain")
    assert set(came.statuses) == {503}
    assert desk.mails() == []
    desk.store.unlink()
    away.rename(desk.store)

    assert came.wait(30) == 200
    desk.wait_for_states("done")
    assert [letter.message_id for letter in desk.letters()] == ids(1)


@on_sqlite
def test_with_a_folder_that_cannot_be_made_events_come_in_and_mails_are_to_come_again(desk: Desk) -> None:
    (desk.folder / "file").write_text("no folder")
    desk.configure(INBOUND_FOLDER=desk.folder / "file" / "inbound")
    web = desk.web()
    assert desk.post(history(2)) == 200
    assert desk.post_mail(mail(1)) == 503
    assert "the storage did not take the mail: NotADirectoryError" in web.output()


@on_postgres
def test_a_signature_that_fits_no_key_loses_no_mail(desk: Desk) -> None:
    desk.configure(SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=OTHER_KEY)
    web = desk.web()
    came = desk.sendgrid.receive(mail(1))
    desk.wait_until(lambda: len(came.statuses) >= 2, "two posts in vain")
    assert set(came.statuses) == {503}
    assert desk.files() == []

    web.kill()
    desk.configure(SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=f"{OTHER_KEY},{desk.sender.public_key}")
    desk.web()
    desk.worker()
    assert came.wait(30) == 200
    desk.wait_for_states("done")


def test_the_broker_away_costs_a_mail_nothing_but_time(desk: Desk) -> None:
    desk.web()
    desk.worker()
    desk.valkey.stop()
    assert desk.post_mail(mail(1)) == 200
    assert desk.states() == ["owed"]
    desk.valkey.start()

    desk.wait_for_states("done")
    assert [letter.message_id for letter in desk.letters()] == ids(1)


@pytest.fixture
def on_own_postgres(own_servers: Servers, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, *own_servers)
    yield desk
    desk.stop()


def test_with_postgresql_stopped_no_200_and_later_the_same_post_is_taken(
    on_own_postgres: Desk, postgres: Postgres
) -> None:
    desk = on_own_postgres
    desk.web()
    desk.worker()
    assert desk.post_mail(mail(1)) == 200
    desk.wait_for_states("done")

    postgres.stop()
    came = desk.sendgrid.receive(mail(2))
    wait_for(lambda: len(came.statuses) >= 2, seconds=10, what="two posts in vain")
    assert set(came.statuses) == {503}
    assert len(desk.files()) == 1
    postgres.start()

    assert came.wait(30) == 200
    desk.wait_for_states("done", "done")
    assert [letter.message_id for letter in desk.letters()] == ids(1, 2)
    assert {call.attempt for call in desk.book.calls()} == {1}
    assert len(desk.files()) == 2


@pytest.mark.quick
def test_an_answer_finds_the_mail_it_answers(desk: Desk) -> None:
    desk.web()
    desk.worker()
    desk.mailer()
    desk.sendgrid.webhook_url = desk.stack.webhook_url
    sent = desk.call("send", to=["reply.ann@example.com"])
    batch = desk.call(
        "send", to=["bob@example.com", "reply.eve@example.com"], merge_data={"bob@example.com": {}}
    )

    desk.wait_until(lambda: desk.states() == ["done", "done"], "two answers")
    answers = {sent["reply.ann@example.com"], batch["reply.eve@example.com"]}
    assert {letter.answers for letter in desk.letters()} == answers
