"""An inbound mail that is answered with 200 is kept and reaches each receiver, whatever happens."""

import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from devstack.postgres import Postgres
from devstack.process import wait_for
from fake_sendgrid import inbound_form
from fake_sendgrid.events import generate_events
from fake_sendgrid.multipart_form import FormPart, MultipartForm
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.flows.databases import on_postgres, on_sqlite
from tests.support.flows.deployment import Servers
from tests.support.flows.inbound_deployment import InboundDeployment
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.receivers_app.call_log import Call
from tests.support.inbound.mails import sample_mail

OTHER_KEY = WebhookSender().public_key


def ids(*numbers: int) -> list[str]:
    return [f"<{number}@mail.example.org>" for number in numbers]


@pytest.mark.quick
@pytest.mark.parametrize("mode", [inbound_form.raw_form, inbound_form.parsed_form], ids=["raw", "parsed"])
def test_an_inbound_mail_reaches_each_receiver_once(
    inbound_deployment: InboundDeployment, mode: Callable[..., MultipartForm]
) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    blob = random.Random(1).randbytes(100_000)
    sent = sample_mail(subject="Grüße", text="Wo bleibt die Bestellung?\n")
    sent.add_attachment(blob, maintype="image", subtype="png", filename="Überblick.png")

    assert (
        inbound_deployment.post_mail(
            mode(sent, envelope_to=["desk@parse.example.com", "shop@parse.example.com"])
        )
        == 200
    )

    inbound_deployment.wait_for_states("done")
    (letter,) = inbound_deployment.received_mails()
    assert letter.subject == "Grüße"
    assert letter.text.strip() == "Wo bleibt die Bestellung?"
    assert letter.envelope_recipients == ["desk@parse.example.com", "shop@parse.example.com"]
    assert letter.attachments == {"Überblick.png": sha256(blob).hexdigest()}
    assert (letter.answers, letter.duplicate_of) == (None, None)
    assert {call.receiver for call in inbound_deployment.call_log.calls()} == {"reader", "clerk"}
    assert len(inbound_deployment.files()) == 1


@on_sqlite
def test_an_inbound_mail_of_30_megabytes_reaches_its_receiver_intact(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    blob = random.Random(2).randbytes(22_000_000)
    large = sample_mail()
    large.add_attachment(blob, maintype="application", subtype="zip", filename="all.zip")

    assert inbound_deployment.post_mail(large) == 200

    inbound_deployment.wait_for_states("done")
    assert inbound_deployment.received_mails()[0].attachments == {"all.zip": sha256(blob).hexdigest()}


def test_a_failing_receiver_is_retried_alone_until_its_mail_becomes_a_dead_letter(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.configure(RECEIVER_RETRY_DELAY=1, RECEIVER_MAX_ATTEMPTS=2)
    inbound_deployment.web()
    inbound_deployment.worker()
    late, lost = ids(1, 2)
    inbound_deployment.call_log.order(late, behaviours.fail, tries=1)
    inbound_deployment.call_log.order(lost, behaviours.fail)

    for number in (1, 2, 3):
        assert inbound_deployment.post_mail(sample_mail(number)) == 200

    inbound_deployment.wait_for_states("done", "dead", "done")
    calls = inbound_deployment.call_log.calls()
    assert sorted(call for call in calls if call.receiver == "clerk") == [
        Call("clerk", late, 1, False),
        Call("clerk", late, 2, False),
        Call("clerk", lost, 1, False),
        Call("clerk", lost, 2, False),
        Call("clerk", ids(3)[0], 1, False),
    ]
    assert sorted(call.event_id for call in calls if call.receiver == "reader") == ids(1, 2, 3)
    assert inbound_deployment.mails()[1].error == "Given up: a receiver failed 2 times."

    inbound_deployment.call_log.withdraw(lost)
    assert "Retried 1 of 1" in inbound_deployment.stack.manage("inbound", "retry", "--state", "dead")
    inbound_deployment.wait_for_states("done", "done", "done")
    assert "Replayed 1 of 1" in inbound_deployment.stack.manage("inbound", "replay", lost, "--to", "reader")
    inbound_deployment.wait_until(
        lambda: Call("reader", lost, 1, True) in inbound_deployment.call_log.calls(),
        "a replay to one receiver",
    )
    assert [call for call in inbound_deployment.call_log.calls() if call.replay] == [
        Call("reader", lost, 1, True)
    ]


def test_a_routed_mail_reaches_its_receiver_alone_which_is_retried_and_replayed_by_name(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.configure(RECEIVER_RETRY_DELAY=1, RECEIVER_MAX_ATTEMPTS=2)
    inbound_deployment.web()
    inbound_deployment.worker()
    routed, both, lost = ids(1, 2, 3)
    inbound_deployment.call_log.order(routed, behaviours.fail, tries=1)
    inbound_deployment.call_log.order(lost, behaviours.fail)
    ticket, desk = "Tickets+12@parse.example.com", "desk@parse.example.com"

    for number, recipients in ((1, [ticket]), (2, [ticket, desk]), (3, [ticket])):
        form = inbound_form.raw_form(sample_mail(number), envelope_to=recipients)
        assert inbound_deployment.post_mail(form) == 200

    inbound_deployment.wait_for_states("done", "done", "dead")
    calls = inbound_deployment.call_log.calls()
    assert sorted(call for call in calls if call.receiver == "ticket_clerk") == [
        Call("ticket_clerk", routed, 1, False),
        Call("ticket_clerk", routed, 2, False),
        Call("ticket_clerk", both, 1, False),
        Call("ticket_clerk", lost, 1, False),
        Call("ticket_clerk", lost, 2, False),
    ]
    assert {call.event_id for call in calls if call.receiver != "ticket_clerk"} == {both}
    assert "ticket_clerk" in inbound_deployment.stack.manage("inbound", "show", lost)

    inbound_deployment.call_log.withdraw(lost)
    assert "Retried 1 of 1" in inbound_deployment.stack.manage("inbound", "retry", "--state", "dead")
    inbound_deployment.wait_for_states("done", "done", "done")
    replay = ("inbound", "replay", routed, "--to", "reader")
    assert "Replayed 1 of 1" in inbound_deployment.stack.manage(*replay)
    inbound_deployment.wait_until(
        lambda: Call("reader", routed, 1, True) in inbound_deployment.call_log.calls(),
        "a replay to a receiver that the route left out",
    )


def test_worker_death_with_a_leased_mail_retries_only_the_unfinished_receiver(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.web()
    worker = inbound_deployment.worker()
    (held,) = ids(1)
    inbound_deployment.call_log.order(held, behaviours.hold, tries=1)
    assert inbound_deployment.post_mail(sample_mail(1)) == 200
    inbound_deployment.wait_until(
        lambda: Call("clerk", held, 1, False) in inbound_deployment.call_log.calls(),
        "the mail is in its hands",
    )

    worker.kill()
    inbound_deployment.expire_leases()
    inbound_deployment.worker(name="successor")

    inbound_deployment.wait_for_states("done")
    assert [call.attempt for call in inbound_deployment.call_log.calls() if call.receiver == "clerk"] == [
        1,
        2,
    ]
    assert [letter.message_id for letter in inbound_deployment.received_mails()] == [held]


@on_sqlite
def test_a_mail_crafted_to_parse_slowly_is_parsed_fast_and_delays_no_event(
    inbound_deployment: InboundDeployment,
) -> None:
    """Its headers took the standard library half a minute, and each new try did."""
    inbound_deployment.configure(RECEIVER_TIME_LIMIT=1)
    inbound_deployment.web()
    inbound_deployment.worker("--concurrency", "1")
    head = f"Message-ID: {ids(1)[0]}\nContent-Type: multipart/mixed; boundary=b\n\n".encode()
    hostile = head + (b"--b\nContent-Type: " + b'"' * 3990 + b"\n\nx\n") * 236 + b"--b--\n"
    events = generate_events(10)

    assert inbound_deployment.post_mail(hostile) == 200
    assert inbound_deployment.post(events) == 200

    inbound_deployment.wait_until_received(len(events))
    inbound_deployment.wait_for_states("done")
    calls = inbound_deployment.call_log.calls()
    assert {call.attempt for call in calls} == {1}
    assert {call.receiver for call in calls if call.event_id == ids(1)[0]} == {"clerk", "reader"}


@on_sqlite
def test_inbound_mail_on_its_own_worker_delays_no_event(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.web()
    inbound_deployment.events_worker()
    inbound_deployment.inbound_worker()
    (held,) = ids(1)
    inbound_deployment.call_log.order(held, behaviours.hold, tries=1)
    assert inbound_deployment.post_mail(sample_mail(1)) == 200
    inbound_deployment.wait_until(
        lambda: Call("clerk", held, 1, False) in inbound_deployment.call_log.calls(),
        "the mail is in its hands",
    )

    events = generate_events(10)
    assert inbound_deployment.post(events) == 200
    inbound_deployment.wait_until_received(len(events))
    assert inbound_deployment.states() == ["pending"]
    inbound_deployment.call_log.withdraw(held)
    inbound_deployment.wait_for_states("done")


@on_sqlite
def test_a_chunked_post_from_a_proxy_is_taken_whole_and_refused_with_503_when_cut_short(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    body, content_type = inbound_post(inbound_form.raw_form(sample_mail(1)))
    headers = inbound_deployment.sender.headers(body, content_type=content_type)

    for whole in (body[:-200], body):
        pieces = (whole[at : at + 100] for at in range(0, len(whole), 100))
        answer = requests.post(inbound_deployment.stack.inbound_url, data=pieces, headers=headers, timeout=10)
        assert answer.status_code == (200 if whole == body else 503)

    inbound_deployment.wait_for_states("done")
    assert [letter.message_id for letter in inbound_deployment.received_mails()] == ids(1)


@on_sqlite
def test_unreadable_mails_become_dead_letters_with_a_reason_and_their_neighbours_arrive(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    level = b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n'
    deep = b"".join(level % (number, number) for number in range(5000))
    odd = (
        inbound_form.parsed_form(sample_mail(4))
        .replaced("charsets", b'{"text": "klingon", "html": 7}')
        .without("envelope")
    )
    bad: list[tuple[bytes, str]] = [
        (b"\x00\xff nothing of the kind", "multipart/form-data; boundary=xYzZY"),
        (b'{"email": "From: a"}', "application/json"),
        (b"", "text/plain"),
        inbound_post(inbound_form.raw_form(sample_mail()).without("email")),
        inbound_post(MultipartForm((FormPart("email", deep),))),
        inbound_post(inbound_form.raw_form(sample_mail()), cut=100),
    ]

    for body, content_type in bad:
        answer = inbound_deployment.sender.post(
            inbound_deployment.stack.inbound_url, body, content_type=content_type
        )
        assert answer.status_code == (200 if body else 503)
    assert inbound_deployment.post_mail(b"\xff\xfe\x00 no header at all \x80") == 200
    assert inbound_deployment.post_mail(odd) == 200

    dead = ["dead"] * 5
    inbound_deployment.wait_for_states(*dead, "done", "done")
    for lost in inbound_deployment.mails()[:5]:
        assert lost.error
        assert "zoe" not in lost.error.lower()
    assert [letter.message_id for letter in inbound_deployment.received_mails()] == ["", *ids(4)]
    assert len(inbound_deployment.files()) == 7


def inbound_post(form: MultipartForm, cut: int = 0) -> tuple[bytes, str]:
    body = form.body()
    return body[: len(body) - cut], form.content_type


def test_a_duplicate_mail_is_marked_and_not_dropped(inbound_deployment: InboundDeployment) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()

    for _ in range(2):
        assert inbound_deployment.post_mail(inbound_form.parsed_form(sample_mail(1))) == 200
        inbound_deployment.wait_for_states(*["done"] * len(inbound_deployment.mails()))
    assert (
        inbound_deployment.post_mail(
            inbound_form.parsed_form(sample_mail(1), envelope_to=["other@parse.example.com"])
        )
        == 200
    )

    inbound_deployment.wait_for_states("done", "done", "done")
    assert [row.duplicate_of for row in inbound_deployment.mails()] == [None, 1, None]
    assert [letter.duplicate_of for letter in inbound_deployment.received_mails()] == [None, "1", None]


@on_sqlite
def test_without_its_storage_a_post_gets_503_and_its_retry_is_taken(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    inbound_deployment.store.mkdir(exist_ok=True)
    away = inbound_deployment.store.rename(inbound_deployment.folder / "away")
    inbound_deployment.store.write_text("a file where the folder was")

    came = inbound_deployment.sendgrid.receive(sample_mail(1))
    inbound_deployment.wait_until(lambda: len(came.statuses) >= 2, "two posts in vain")
    assert set(came.statuses) == {503}
    assert inbound_deployment.mails() == []
    inbound_deployment.store.unlink()
    away.rename(inbound_deployment.store)

    assert came.wait(30) == 200
    inbound_deployment.wait_for_states("done")
    assert [letter.message_id for letter in inbound_deployment.received_mails()] == ids(1)


@on_sqlite
def test_with_an_unusable_inbound_folder_events_are_taken_and_mails_get_503(
    inbound_deployment: InboundDeployment,
) -> None:
    (inbound_deployment.folder / "file").write_text("no folder")
    inbound_deployment.configure(INBOUND_FOLDER=inbound_deployment.folder / "file" / "inbound")
    web = inbound_deployment.web()
    assert inbound_deployment.post(generate_events(2)) == 200
    assert inbound_deployment.post_mail(sample_mail(1)) == 503
    assert "the storage did not take the mail: NotADirectoryError" in web.output()


@on_postgres
def test_a_signature_that_matches_no_key_gets_503_and_loses_no_mail(
    inbound_deployment: InboundDeployment,
) -> None:
    inbound_deployment.configure(SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=OTHER_KEY)
    web = inbound_deployment.web()
    came = inbound_deployment.sendgrid.receive(sample_mail(1))
    inbound_deployment.wait_until(lambda: len(came.statuses) >= 2, "two posts in vain")
    assert set(came.statuses) == {503}
    assert inbound_deployment.files() == []

    web.kill()
    inbound_deployment.configure(
        SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=f"{OTHER_KEY},{inbound_deployment.sender.public_key}"
    )
    inbound_deployment.web()
    inbound_deployment.worker()
    assert came.wait(30) == 200
    inbound_deployment.wait_for_states("done")


def test_a_broker_outage_only_delays_an_inbound_mail(inbound_deployment: InboundDeployment) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    inbound_deployment.valkey.stop()
    assert inbound_deployment.post_mail(sample_mail(1)) == 200
    assert inbound_deployment.states() == ["pending"]
    inbound_deployment.valkey.start()

    inbound_deployment.wait_for_states("done")
    assert [letter.message_id for letter in inbound_deployment.received_mails()] == ids(1)


@pytest.fixture
def on_own_postgres(own_servers: Servers, tmp_path: Path) -> Iterator[InboundDeployment]:
    inbound_deployment = InboundDeployment(tmp_path, *own_servers)
    yield inbound_deployment
    inbound_deployment.stop()


def test_without_postgresql_a_post_gets_503_and_its_retry_is_taken(
    on_own_postgres: InboundDeployment, postgres: Postgres
) -> None:
    inbound_deployment = on_own_postgres
    inbound_deployment.web()
    inbound_deployment.worker()
    assert inbound_deployment.post_mail(sample_mail(1)) == 200
    inbound_deployment.wait_for_states("done")

    postgres.stop()
    came = inbound_deployment.sendgrid.receive(sample_mail(2))
    wait_for(lambda: len(came.statuses) >= 2, seconds=10, what="two posts in vain")
    assert set(came.statuses) == {503}
    assert len(inbound_deployment.files()) == 1
    postgres.start()

    assert came.wait(30) == 200
    inbound_deployment.wait_for_states("done", "done")
    assert [letter.message_id for letter in inbound_deployment.received_mails()] == ids(1, 2)
    assert {call.attempt for call in inbound_deployment.call_log.calls()} == {1}
    assert len(inbound_deployment.files()) == 2


@pytest.mark.quick
def test_a_reply_is_matched_to_the_mail_it_answers(inbound_deployment: InboundDeployment) -> None:
    inbound_deployment.web()
    inbound_deployment.worker()
    inbound_deployment.mailer()
    inbound_deployment.sendgrid.webhook_url = inbound_deployment.stack.webhook_url
    sent = inbound_deployment.call("send", to=["reply.ann@example.com"])
    batch = inbound_deployment.call(
        "send", to=["bob@example.com", "reply.eve@example.com"], merge_data={"bob@example.com": {}}
    )

    inbound_deployment.wait_until(lambda: inbound_deployment.states() == ["done", "done"], "two answers")
    answers = {sent["reply.ann@example.com"], batch["reply.eve@example.com"]}
    assert {letter.answers for letter in inbound_deployment.received_mails()} == answers
