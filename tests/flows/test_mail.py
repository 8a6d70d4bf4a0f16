"""The way of a mail: from `send()` to SendGrid and back, whatever goes wrong in between."""

import random
import socket
from functools import partial
from typing import Any

import pytest

from fake_sendgrid import responses
from fake_sendgrid.responses import ApiResponse, HeldRequest
from tests.support.flows.databases import on_postgres, on_sqlite
from tests.support.flows.deployment import LONG_AGO
from tests.support.flows.mail_deployment import API_KEY, MailDeployment

ANN = "ann@example.com"


@pytest.mark.quick
def test_a_mail_is_sent_and_its_events_update_its_recipients(mail_deployment: MailDeployment) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    mail_deployment.mailer()

    ids = mail_deployment.call("send", to=["Ann <ann@example.com>", "bounce@example.com"], merge_data={})

    mail_deployment.wait_until(
        lambda: mail_deployment.statuses() == {ANN: "delivered", "bounce@example.com": "bounced"},
        "both statuses",
    )
    mail_deployment.wait_for_states("accepted")  # the events may be faster than the mailer's own commit
    assert mail_deployment.parts()[0][:5] == ("accepted", 1, 0, True, False)
    (request,) = mail_deployment.sendgrid.accepted
    assert [one["custom_args"]["anymail_id"] for one in request.body["personalizations"]] == [*ids.values()]
    assert mail_deployment.ids() == {*ids.values()}


def test_results_of_the_deliver_task_contain_no_addresses(mail_deployment: MailDeployment) -> None:
    mail_deployment.mailer()
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_for_states("accepted")
    mail_deployment.wait_until(
        lambda: mail_deployment.query("SELECT result FROM django_celery_results_taskresult"), "the result"
    )
    results = {
        result for (result,) in mail_deployment.query("SELECT result FROM django_celery_results_taskresult")
    }
    assert results == {'{"accepted": 1}'}


@pytest.mark.quick
def test_a_rolled_back_mail_is_never_sent(mail_deployment: MailDeployment) -> None:
    mailer = mail_deployment.mailer()
    assert mail_deployment.call("send_and_roll_back", to=["nobody@example.com"]).keys() == {
        "nobody@example.com"
    }
    mail_deployment.call("send", to=[ANN])

    mail_deployment.wait_for_states("accepted")
    mail_deployment.wait_for_tick(mailer)
    assert len(mail_deployment.sendgrid.requests) == 1
    assert not mail_deployment.accepted("nobody@example.com")


def test_a_lost_wake_up_delays_a_mail_until_the_next_tick(mail_deployment: MailDeployment) -> None:
    mail_deployment.call("send", to=[ANN])
    with mail_deployment.broker() as broker:
        assert broker.llen("sendgrid.mail") == 1
        broker.flushdb()

    mail_deployment.mailer()

    mail_deployment.wait_for_states("accepted")
    assert len(mail_deployment.accepted(ANN)) == 1


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_broker_outage_at_the_commit_delays_a_mail_until_the_next_tick(
    mail_deployment: MailDeployment, how: str
) -> None:
    if how == "stopped":
        mail_deployment.valkey.stop()
    else:
        mail_deployment.valkey.freeze()
    assert mail_deployment.call("send", to=[ANN]).keys() == {ANN}
    if how == "stopped":
        mail_deployment.valkey.start()
    else:
        mail_deployment.valkey.thaw()

    mail_deployment.mailer()
    mail_deployment.wait_for_states("accepted")
    assert len(mail_deployment.accepted(ANN)) == 1


def test_a_wrong_api_key_opens_the_circuit_breaker_and_fails_no_mail(mail_deployment: MailDeployment) -> None:
    mail_deployment.sendgrid.keys = {"SG.another"}
    mailer = mail_deployment.mailer()
    mail_deployment.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(20)])

    mail_deployment.wait_until(
        lambda: mail_deployment.query("SELECT 1 FROM sending_app_opencircuit"), "the pause"
    )
    mail_deployment.wait_for_tick(mailer)
    assert mail_deployment.states() == ["waiting"] * 20
    # Those that were on their way when the first was refused; nobody else has knocked.
    assert len(mail_deployment.sendgrid.requests) <= 4
    assert API_KEY not in mailer.output()

    knocked = len(mail_deployment.sendgrid.requests)
    mail_deployment.pass_time()
    mail_deployment.wait_until(lambda: len(mail_deployment.sendgrid.requests) > knocked, "one who tries")
    mail_deployment.wait_for_tick(mailer)
    assert len(mail_deployment.sendgrid.requests) == knocked + 1

    mail_deployment.sendgrid.keys = {API_KEY}
    mail_deployment.pass_time_until(
        lambda: mail_deployment.states() == ["accepted"] * 20, "all accepted with the key mended"
    )
    assert not mail_deployment.query("SELECT 1 FROM sending_app_opencircuit")
    assert len(mail_deployment.sendgrid.accepted) == 20


def test_a_mail_without_a_valid_api_key_fails_at_the_age_limit_with_a_reason(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.sendgrid.keys = set()
    mail_deployment.mailer()
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_until(
        lambda: mail_deployment.query("SELECT 1 FROM sending_app_opencircuit"), "the pause"
    )

    # Only the age passes: with the pause over, each look may find the mail on its way.
    mail_deployment.execute(f"UPDATE sending_app_mail SET created_at = '{LONG_AGO}'")
    mail_deployment.tick_now()
    mail_deployment.wait_for_states("failed")
    assert "authorization" in mail_deployment.parts()[0].error
    assert mail_deployment.statuses() == {ANN: "failed"}
    # Receivers are called after the commit.
    mail_deployment.wait_until(mail_deployment.call_log.calls, "the receiver called")
    assert [call.receiver for call in mail_deployment.call_log.calls()] == ["send_failed"]


def test_worker_death_before_the_request_arrives_reconciles_and_sends_once(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    with mail_deployment.posting_open_events(mail_deployment.send_confirmed_mail()):
        with socket.create_server(("127.0.0.1", 0)) as proxy:  # one that nothing gets through
            mail_deployment.configure(HTTP_PROXY=f"http://127.0.0.1:{proxy.getsockname()[1]}")
            mailer = mail_deployment.mailer("--concurrency", "1", name="killed")
            mail_deployment.call("send", to=[ANN])
            mail_deployment.wait_for_states("accepted", "posting")
            mailer.kill()
        assert not mail_deployment.accepted(ANN)

        mail_deployment.configure(HTTP_PROXY="")
        mail_deployment.mailer()
        mail_deployment.pass_time_until(lambda: mail_deployment.states() == ["accepted", "unknown"], "found")
        mail_deployment.pass_time_until(mail_deployment.all_confirmed, "sent after all")
    assert len(mail_deployment.accepted(ANN)) == 1
    assert mail_deployment.parts()[1][1:5] == (2, 1, True, False)


@pytest.mark.parametrize("taken", [True, False])
def test_worker_death_while_sendgrid_has_the_request_reconciles_and_sends_once(
    mail_deployment: MailDeployment, taken: bool
) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    with mail_deployment.posting_open_events(mail_deployment.send_confirmed_mail()):
        held = HeldRequest()
        mail_deployment.sendgrid.next(ApiResponse(status=202 if taken else None, accepts=taken, held=held))
        killed = mail_deployment.mailer("--concurrency", "1", name="killed")
        mail_deployment.call("send", to=[ANN])
        mail_deployment.wait_until(held.arrived.is_set, "the request at SendGrid")

        killed.kill()
        held.release()
        mail_deployment.mailer()

        if not taken:
            mail_deployment.pass_time_until(
                lambda: mail_deployment.states() == ["accepted", "unknown"], "found"
            )
        mail_deployment.pass_time_until(mail_deployment.all_confirmed, "settled")
    assert len(mail_deployment.accepted(ANN)) == 1
    mine = mail_deployment.parts()[1]
    assert (mine.attempts, mine.seen, mine.sent_twice) == (1 if taken else 2, True, False)


@pytest.mark.quick
def test_worker_death_after_the_answer_of_sendgrid_reconciles_without_a_second_send(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    held = mail_deployment.sendgrid.hold(after_accepting=True)
    killed = mail_deployment.mailer("--concurrency", "1", name="killed")
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_until(held.arrived.is_set, "the mail accepted")

    killed.freeze()  # the answer is with it, and it never reads it
    held.release()
    killed.kill()

    mail_deployment.mailer()
    mail_deployment.pass_time_until(lambda: mail_deployment.states() == ["accepted"], "settled by its events")
    assert len(mail_deployment.accepted(ANN)) == 1
    mine = mail_deployment.parts()[0]
    assert (mine.attempts, mine.seen, mine.sent_twice) == (1, True, False)


@pytest.mark.parametrize("answer", ["none", "500"])
def test_a_mail_accepted_without_an_answer_is_reconciled_by_its_events(
    mail_deployment: MailDeployment, answer: str
) -> None:
    mail_deployment.configure(REQUESTS_TIMEOUT=0.5)
    mail_deployment.web()
    mail_deployment.worker()
    mail_deployment.mailer()
    mail_deployment.sendgrid.hold_events()
    if answer == "none":
        mail_deployment.sendgrid.hold(after_accepting=True)  # for longer than anybody waits
    else:
        mail_deployment.sendgrid.next(responses.accept_and_respond(500))

    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_for_states("unknown")
    mail_deployment.call("send", to=["later@example.com"])
    mail_deployment.wait_for_states("unknown", "accepted")
    mail_deployment.pass_time()  # nobody has heard of the later one either: nothing can be decided
    mail_deployment.wait_until(
        lambda: "may not have reached us" in mail_deployment.parts()[0].error, "undecided"
    )
    mail_deployment.sendgrid.release_events()

    mail_deployment.pass_time_until(
        lambda: mail_deployment.states() == ["accepted"] * 2, "settled by its events"
    )
    mail_deployment.sendgrid.wait_until_posted(60)
    mail_deployment.pass_time_until(lambda: mail_deployment.statuses()[ANN] == "delivered", "delivered")
    assert len(mail_deployment.accepted(ANN)) == 1
    assert mail_deployment.parts()[0][1:5] == (1, 1, True, False)


def test_an_unknown_outcome_without_later_mails_is_parked(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.configure(SEND_MAX_AGE=3)
    mail_deployment.web()
    mail_deployment.worker()
    mail_deployment.mailer()
    mail_deployment.sendgrid.next(responses.server_error(500))
    mail_deployment.call("send", to=[ANN])

    mail_deployment.pass_time_until(lambda: mail_deployment.states() == ["parked"], "parked")
    assert not mail_deployment.sendgrid.accepted
    assert len(mail_deployment.sendgrid.requests) == 1


def test_no_worker_sends_before_the_rate_limit_reset_of_a_429(mail_deployment: MailDeployment) -> None:
    mail_deployment.sendgrid.next(responses.rate_limited(5))
    for name in ("one", "other"):
        mail_deployment.mailer("--concurrency", "1", name=name)
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_until(
        lambda: mail_deployment.query("SELECT 1 FROM sending_app_opencircuit"), "the pause"
    )
    mail_deployment.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(10)])

    mail_deployment.wait_until(lambda: {*mail_deployment.states()} == {"accepted"}, "all accepted")
    refused, *others = mail_deployment.sendgrid.requests
    assert min(request.at for request in others) >= refused.at + 4  # the reset is in whole seconds
    assert len(others) == 11


@on_sqlite
@pytest.mark.parametrize("names_refused", [True, False])
def test_refused_addresses_of_a_large_merge_fail_alone(
    mail_deployment: MailDeployment, names_refused: bool
) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    mail_deployment.mailer()
    refused = {f"reader{number:06d}@example.com" for number in (2000, 2500, 2999)}
    mail_deployment.sendgrid.refused = refused
    mail_deployment.sendgrid.names_refused = names_refused

    assert mail_deployment.call("campaign", recipients=3000)["ids"] == 3000

    mail_deployment.wait_until(
        lambda: list(mail_deployment.statuses().values()).count("delivered") == 2997, "their events stored"
    )
    mail_deployment.wait_until(lambda: {*mail_deployment.states()} == {"accepted", "failed"}, "all decided")
    statuses = mail_deployment.statuses()
    assert {address for address, status in statuses.items() if status == "failed"} == refused
    assert mail_deployment.states().count("failed") == (1 if names_refused else 3)
    assert len(mail_deployment.sendgrid.requests) <= (4 if names_refused else 63)
    sent = [
        one["to"][0]["email"]
        for mail in mail_deployment.sendgrid.accepted
        for one in mail.body["personalizations"]
    ]
    assert len(sent) == len({*sent}) == 2997


def test_a_mail_that_alone_pauses_the_account_fails_and_its_neighbours_are_sent(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.sendgrid.always(responses.ApiResponse(status=415), when=partial(goes_to, ANN))
    mail_deployment.mailer("--concurrency", "1")
    mail_deployment.call("send", to=[ANN])
    mail_deployment.wait_until(
        lambda: mail_deployment.query("SELECT 1 FROM sending_app_opencircuit"), "the pause"
    )
    mail_deployment.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(10)])

    # The open time is over, and the paused mail is due after its neighbours.
    mail_deployment.execute(f"UPDATE sending_app_opencircuit SET probe_at = '{LONG_AGO}'")
    mail_deployment.tick_now()
    mail_deployment.wait_until(lambda: mail_deployment.states().count("accepted") == 10, "neighbours sent")
    mail_deployment.pass_time_until(lambda: mail_deployment.part_to(ANN).state == "failed", "failed alone")

    assert "accepts other mails of the account" in mail_deployment.part_to(ANN).error
    assert not mail_deployment.query("SELECT 1 FROM sending_app_opencircuit")
    assert len(mail_deployment.sendgrid.requests) == 12


@pytest.mark.quick
@on_postgres
def test_a_transactional_mail_overtakes_a_bulk_campaign(mail_deployment: MailDeployment) -> None:
    mail_deployment.sendgrid.always(responses.slow(0.2))
    mail_deployment.mailer("--concurrency", "1")
    assert mail_deployment.call("campaign", recipients=40_000)["ids"] == 40_000
    mail_deployment.call("send", to=[ANN])

    mail_deployment.wait_until(lambda: mail_deployment.accepted(ANN), "the mail out")
    assert mail_deployment.states().count("waiting") > 20


def test_a_storm_of_faults_loses_no_mail_and_sends_no_mail_twice(mail_deployment: MailDeployment) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    with mail_deployment.posting_open_events(mail_deployment.send_confirmed_mail()):
        storm(mail_deployment)


def storm(mail_deployment: MailDeployment) -> None:
    chance = random.Random(11)
    to = [f"reader{number:03d}@example.com" for number in range(40)]
    for address in to:
        troubles = chance.choices([None, *TROUBLES], [8, *[1] * len(TROUBLES)])[0]
        if troubles:
            mail_deployment.sendgrid.next(*troubles, when=partial(goes_to, address))
    mailers = [mail_deployment.mailer(name=name) for name in ("one", "other")]
    mail_deployment.call("send_many", mails=[[address] for address in to])
    mail_deployment.wait_until(lambda: len(mail_deployment.sendgrid.requests) > 14, "a third of them tried")
    mailers[0].kill()
    mail_deployment.wait_until(lambda: len(mail_deployment.sendgrid.requests) > 27, "two thirds tried")
    mailers[1].kill()
    mail_deployment.mailer(name="last")

    mail_deployment.pass_time_until(mail_deployment.all_confirmed, "every mail accepted and heard of")
    assert {address: len(mail_deployment.accepted(address)) for address in to} == dict.fromkeys(to, 1)
    assert not any(part.sent_twice for part in mail_deployment.parts())


#: What may happen to a mail: how its first requests are met, before one goes through.
TROUBLES = (
    (responses.server_error(503),),
    (responses.accept_and_respond(500),),
    (responses.close_connection(),),
    (responses.accept_and_close_connection(),),
    (responses.html_page(504),),
    (responses.rate_limited(1),),
    (responses.close_connection(), responses.server_error()),
    (responses.slow(0.5),),
)


def goes_to(address: str, mail: dict[str, Any]) -> bool:
    return bool(mail["personalizations"][0]["to"][0]["email"] == address)
