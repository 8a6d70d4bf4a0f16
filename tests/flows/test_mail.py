"""The way of a mail: from `send()` to SendGrid and back, whatever goes wrong in between."""

import random
import socket
from functools import partial
from typing import Any

import pytest

from fake_sendgrid import answers
from fake_sendgrid.answers import Answer, Held
from tests.flows.databases import on_postgres, on_sqlite
from tests.flows.mailing import KEY, Mailing

ANN = "ann@example.com"


@pytest.mark.quick
def test_a_mail_goes_out_and_its_events_come_back(mailing: Mailing) -> None:
    mailing.web()
    mailing.worker()
    mailing.mailer()

    ids = mailing.call("send", to=["Ann <ann@example.com>", "bounce@example.com"], merge_data={})

    mailing.wait_until(
        lambda: mailing.statuses() == {ANN: "delivered", "bounce@example.com": "bounced"}, "both statuses"
    )
    assert mailing.parts()[0][:5] == ("accepted", 1, 0, True, False)
    (request,) = mailing.sendgrid.accepted
    assert [one["custom_args"]["anymail_id"] for one in request.body["personalizations"]] == [*ids.values()]
    assert mailing.ids() == {*ids.values()}


def test_results_of_the_deliver_task_are_kept_without_addresses(mailing: Mailing) -> None:
    mailing.mailer()
    mailing.call("send", to=[ANN])
    mailing.wait_for_states("accepted")
    mailing.wait_until(
        lambda: mailing.query("SELECT result FROM django_celery_results_taskresult"), "the result"
    )
    results = {result for (result,) in mailing.query("SELECT result FROM django_celery_results_taskresult")}
    assert results == {'{"accepted": 1}'}


@pytest.mark.quick
def test_what_is_rolled_back_never_leaves(mailing: Mailing) -> None:
    mailer = mailing.mailer()
    assert mailing.call("send_and_roll_back", to=["nobody@example.com"]).keys() == {"nobody@example.com"}
    mailing.call("send", to=[ANN])

    mailing.wait_for_states("accepted")
    mailing.wait_for_tick(mailer)
    assert len(mailing.sendgrid.requests) == 1
    assert not mailing.accepted("nobody@example.com")


def test_a_lost_bell_costs_a_tick(mailing: Mailing) -> None:
    mailing.call("send", to=[ANN])
    with mailing.broker() as broker:
        assert broker.llen("sendgrid.mail") == 1
        broker.flushdb()

    mailing.mailer()

    mailing.wait_for_states("accepted")
    assert len(mailing.accepted(ANN)) == 1


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_broker_that_is_away_at_the_commit_costs_a_tick(mailing: Mailing, how: str) -> None:
    if how == "stopped":
        mailing.valkey.stop()
    else:
        mailing.valkey.freeze()
    assert mailing.call("send", to=[ANN]).keys() == {ANN}
    if how == "stopped":
        mailing.valkey.start()
    else:
        mailing.valkey.thaw()

    mailing.mailer()
    mailing.wait_for_states("accepted")
    assert len(mailing.accepted(ANN)) == 1


def test_a_wrong_key_pauses_the_account_and_fails_nothing(mailing: Mailing) -> None:
    mailing.sendgrid.keys = {"SG.another"}
    mailer = mailing.mailer()
    mailing.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(20)])

    mailing.wait_until(lambda: mailing.query("SELECT 1 FROM sending_app_pause"), "the pause")
    mailing.wait_for_tick(mailer)
    assert mailing.states() == ["waiting"] * 20
    # Those that were on their way when the first was refused; nobody else has knocked.
    assert len(mailing.sendgrid.requests) <= 4
    assert KEY not in mailer.output()

    knocked = len(mailing.sendgrid.requests)
    mailing.pass_time()
    mailing.wait_until(lambda: len(mailing.sendgrid.requests) > knocked, "one who tries")
    mailing.wait_for_tick(mailer)
    assert len(mailing.sendgrid.requests) == knocked + 1

    mailing.sendgrid.keys = {KEY}
    mailing.settle_mail(lambda: mailing.states() == ["accepted"] * 20, "all accepted with the key mended")
    assert not mailing.query("SELECT 1 FROM sending_app_pause")
    assert len(mailing.sendgrid.accepted) == 20


def test_what_no_key_could_send_fails_at_the_age_limit_and_says_so(mailing: Mailing) -> None:
    mailing.configure(SEND_MAX_AGE=1)
    mailing.sendgrid.keys = set()
    mailing.mailer()
    mailing.call("send", to=[ANN])

    mailing.settle_mail(lambda: mailing.states() == ["failed"], "given up")
    assert "authorization" in mailing.parts()[0].error
    assert mailing.statuses() == {ANN: "failed"}
    assert [call.receiver for call in mailing.book.calls()] == ["send_failed"]


def test_a_worker_killed_before_its_post_has_arrived(mailing: Mailing) -> None:
    mailing.web()
    mailing.worker()
    with mailing.opened_all_the_time(mailing.read_mail()):
        with socket.create_server(("127.0.0.1", 0)) as proxy:  # one that nothing gets through
            mailing.configure(HTTP_PROXY=f"http://127.0.0.1:{proxy.getsockname()[1]}")
            mailer = mailing.mailer("--concurrency", "1", name="killed")
            mailing.call("send", to=[ANN])
            mailing.wait_for_states("accepted", "posting")
            mailer.kill()
        assert not mailing.accepted(ANN)

        mailing.configure(HTTP_PROXY="")
        mailing.mailer()
        mailing.settle_mail(lambda: mailing.states() == ["accepted", "unknown"], "found")
        mailing.settle_mail(mailing.all_heard_of, "sent after all")
    assert len(mailing.accepted(ANN)) == 1
    assert mailing.parts()[1][1:5] == (2, 1, True, False)


@pytest.mark.parametrize("taken", [True, False])
def test_a_worker_killed_while_sendgrid_has_the_request(mailing: Mailing, taken: bool) -> None:
    mailing.web()
    mailing.worker()
    with mailing.opened_all_the_time(mailing.read_mail()):
        held = Held()
        mailing.sendgrid.next(Answer(status=202 if taken else None, accepts=taken, held=held))
        killed = mailing.mailer("--concurrency", "1", name="killed")
        mailing.call("send", to=[ANN])
        mailing.wait_until(held.arrived.is_set, "the request at SendGrid")

        killed.kill()
        held.release()
        mailing.mailer()

        if not taken:
            mailing.settle_mail(lambda: mailing.states() == ["accepted", "unknown"], "found")
        mailing.settle_mail(mailing.all_heard_of, "settled")
    assert len(mailing.accepted(ANN)) == 1
    mine = mailing.parts()[1]
    assert (mine.attempts, mine.seen, mine.sent_twice) == (1 if taken else 2, True, False)


@pytest.mark.quick
def test_a_worker_killed_after_sendgrid_has_answered(mailing: Mailing) -> None:
    mailing.web()
    mailing.worker()
    held = mailing.sendgrid.hold(after_accepting=True)
    killed = mailing.mailer("--concurrency", "1", name="killed")
    mailing.call("send", to=[ANN])
    mailing.wait_until(held.arrived.is_set, "the mail accepted")

    killed.freeze()  # the answer is with it, and it never reads it
    held.release()
    killed.kill()

    mailing.mailer()
    mailing.settle_mail(lambda: mailing.states() == ["accepted"], "settled by its events")
    assert len(mailing.accepted(ANN)) == 1
    mine = mailing.parts()[0]
    assert (mine.attempts, mine.seen, mine.sent_twice) == (1, True, False)


@pytest.mark.parametrize("answer", ["none", "500"])
def test_accepted_without_an_answer_that_says_so(mailing: Mailing, answer: str) -> None:
    mailing.configure(REQUESTS_TIMEOUT=0.5)
    mailing.web()
    mailing.worker()
    mailing.mailer()
    mailing.sendgrid.hold_events()
    if answer == "none":
        mailing.sendgrid.hold(after_accepting=True)  # for longer than anybody waits
    else:
        mailing.sendgrid.next(answers.accept_and_answer(500))

    mailing.call("send", to=[ANN])
    mailing.wait_for_states("unknown")
    mailing.call("send", to=["later@example.com"])
    mailing.wait_for_states("unknown", "accepted")
    mailing.pass_time()  # nobody has heard of the later one either: nothing can be decided
    mailing.wait_until(lambda: "may not have reached us" in mailing.parts()[0].error, "undecided")
    mailing.sendgrid.release_events()

    mailing.settle_mail(lambda: mailing.states() == ["accepted"] * 2, "settled by its events")
    mailing.sendgrid.wait_until_posted(60)
    mailing.settle_mail(lambda: mailing.statuses()[ANN] == "delivered", "delivered")
    assert len(mailing.accepted(ANN)) == 1
    assert mailing.parts()[0][1:5] == (1, 1, True, False)


def test_a_mail_of_unknown_fate_and_no_later_one_is_parked_in_the_end(mailing: Mailing) -> None:
    mailing.configure(SEND_MAX_AGE=3)
    mailing.web()
    mailing.worker()
    mailing.mailer()
    mailing.sendgrid.next(answers.server_error(500))
    mailing.call("send", to=[ANN])

    mailing.settle_mail(lambda: mailing.states() == ["parked"], "parked")
    assert not mailing.sendgrid.accepted
    assert len(mailing.sendgrid.requests) == 1


def test_nobody_posts_before_the_reset_of_a_429(mailing: Mailing) -> None:
    mailing.sendgrid.next(answers.rate_limited(5))
    for name in ("one", "other"):
        mailing.mailer("--concurrency", "1", name=name)
    mailing.call("send", to=[ANN])
    mailing.wait_until(lambda: mailing.query("SELECT 1 FROM sending_app_pause"), "the pause")
    mailing.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(10)])

    mailing.wait_until(lambda: {*mailing.states()} == {"accepted"}, "all accepted")
    refused, *others = mailing.sendgrid.requests
    assert min(request.at for request in others) >= refused.at + 4  # the reset is in whole seconds
    assert len(others) == 11


@on_sqlite
def test_the_parts_of_a_large_merge_live_apart(mailing: Mailing) -> None:
    mailing.web()
    mailing.worker()
    mailing.mailer()
    third = "reader002000@example.com"
    refusal = answers.refused(400)
    mailing.sendgrid.always(refusal, when=lambda mail: third in str(mail["personalizations"][0]["to"]))

    assert mailing.call("campaign", recipients=5000)["ids"] == 5000

    mailing.wait_until(lambda: sorted(mailing.states()) == ["accepted"] * 4 + ["failed"], "four of five")
    mailing.wait_until(
        lambda: list(mailing.statuses().values()).count("delivered") == 4000, "their events stored"
    )
    assert [part.state for part in mailing.parts()].index("failed") == 2
    assert list(mailing.statuses().values()).count("failed") == 1000
    sent = [
        one["to"][0]["email"] for mail in mailing.sendgrid.accepted for one in mail.body["personalizations"]
    ]
    assert len(sent) == len({*sent}) == 4000
    assert not mailing.accepted(third)


@pytest.mark.quick
@on_postgres
def test_a_password_reset_overtakes_a_campaign(mailing: Mailing) -> None:
    mailing.sendgrid.always(answers.slow(0.2))
    mailing.mailer("--concurrency", "1")
    assert mailing.call("campaign", recipients=100_000)["ids"] == 100_000
    mailing.call("send", to=[ANN])

    mailing.wait_until(lambda: mailing.accepted(ANN), "the mail out")
    assert mailing.states().count("waiting") > 50


def test_a_storm_loses_nothing_and_sends_nothing_twice(mailing: Mailing) -> None:
    mailing.web()
    mailing.worker()
    with mailing.opened_all_the_time(mailing.read_mail()):
        storm(mailing)


def storm(mailing: Mailing) -> None:
    chance = random.Random(11)
    to = [f"reader{number:03d}@example.com" for number in range(40)]
    for address in to:
        troubles = chance.choices([None, *TROUBLES], [8, *[1] * len(TROUBLES)])[0]
        if troubles:
            mailing.sendgrid.next(*troubles, when=partial(goes_to, address))
    mailers = [mailing.mailer(name=name) for name in ("one", "other")]
    mailing.call("send_many", mails=[[address] for address in to])
    mailing.wait_until(lambda: len(mailing.sendgrid.requests) > 14, "a third of them tried")
    mailers[0].kill()
    mailing.wait_until(lambda: len(mailing.sendgrid.requests) > 27, "two thirds tried")
    mailers[1].kill()
    mailing.mailer(name="last")

    mailing.settle_mail(mailing.all_heard_of, "every mail accepted and heard of")
    assert {address: len(mailing.accepted(address)) for address in to} == dict.fromkeys(to, 1)
    assert not any(part.sent_twice for part in mailing.parts())


#: What may happen to a mail: how its first requests are met, before one goes through.
TROUBLES = (
    (answers.server_error(503),),
    (answers.accept_and_answer(500),),
    (answers.hang_up(),),
    (answers.accept_and_hang_up(),),
    (answers.html(504),),
    (answers.rate_limited(1),),
    (answers.hang_up(), answers.server_error()),
    (answers.slow(0.5),),
)


def goes_to(address: str, mail: dict[str, Any]) -> bool:
    return bool(mail["personalizations"][0]["to"][0]["email"] == address)
