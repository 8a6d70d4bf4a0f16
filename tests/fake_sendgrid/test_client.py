"""Tests control a local SendGrid by its client, over the control API."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import requests

from devstack.process import wait_for
from fake_sendgrid import client, responses
from fake_sendgrid.client import Client, ControlFailed
from fake_sendgrid.server import FakeSendGrid
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver


def test_a_mail_is_seen_with_its_events(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    assert post_mail(double.url, mail_body("click.ann@example.com")).status_code == 202
    double.wait_until_posted(PATIENCE)
    (mail,) = double.mails
    assert (mail.subject, mail.recipients) == ("Your order", ["click.ann@example.com"])
    assert (mail.text, mail.html, mail.template_id) == ("It is on its way.", None, None)
    assert [posted.event["event"] for posted in mail.events] == ["processed", "delivered", "open", "click"]
    assert all(posted.statuses == [200] for posted in mail.events)
    assert double.posted == {"processed": 1, "delivered": 1, "open": 1, "click": 1}


def test_refused_requests_are_seen_with_their_errors(double: Client) -> None:
    post_mail(double.url, mail_body(subject=5))
    double.refuse("eve@example.com")
    double.refuse("bob@example.com")
    post_mail(double.url, mail_body("ann@example.com", "bob@example.com"))
    invalid, refused = double.requests
    assert (invalid.status, invalid.accepted, invalid.mail) == (400, False, None)
    assert "subject" in invalid.errors[0]
    assert refused.errors[0].startswith("personalizations.1.to.0.email: ")
    assert refused.mail
    assert double.mails == []


def test_a_rate_limit_is_planned(double: Client) -> None:
    double.next(status=429, retry_after=30)
    before = time.time()
    response = post_mail(double.url)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "30")
    assert before + 29 <= int(response.headers["X-RateLimit-Reset"]) <= time.time() + 30
    assert post_mail(double.url).status_code == 202


@pytest.mark.parametrize("accepts", [None, True])
def test_a_request_without_an_answer_is_planned(double: Client, accepts: bool | None) -> None:
    double.next(status=None, accepts=accepts)
    with pytest.raises(requests.ConnectionError):
        post_mail(double.url)
    assert len(double.mails) == (1 if accepts else 0)


def test_a_plan_may_be_for_one_recipient_and_several_mails(double: Client) -> None:
    double.next(status=500, times=2, recipient="Bob@example.com")
    statuses = [
        post_mail(double.url, mail_body(f"{name}@example.com")).status_code
        for name in ("bob", "ann", "bob", "bob")
    ]
    assert statuses == [500, 202, 500, 202]


def test_a_mail_can_be_held(double: Client) -> None:
    held = double.hold(after_accepting=True)
    with pytest.raises(TimeoutError, match="no mail has come"):
        held.wait_until_arrived(0)
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(post_mail, double.url)
        held.wait_until_arrived(PATIENCE)
        assert len(double.mails) == 1
        assert not response.done()
        held.release()
        assert response.result(PATIENCE).status_code == 202


def test_an_event_can_be_fired(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    post_mail(double.url, mail_body("silent.ann@example.com", "silent.bob@example.com"))
    (mail,) = double.mails
    double.fire("open", mail)
    event = double.bounce(mail, "SILENT.bob@example.com", reason="mailbox full")
    double.wait_until_posted(PATIENCE)
    assert [(event["event"], event["email"]) for event in webhook.events] == [
        ("open", "silent.ann@example.com"),
        ("bounce", "silent.bob@example.com"),
    ]
    assert webhook.events[1] == event
    assert event["reason"] == "mailbox full"


def test_a_field_of_an_event_may_have_any_name(fake: FakeSendGrid, double: Client) -> None:
    post_mail(double.url)
    fields = {"step": "first", "mail": "spring", "recipient": "ann", "self": "me"}
    assert fields.items() <= fake.fire("open", fake.accepted[0], "ada@example.com", **fields).items()


def test_events_that_are_fired_again_have_other_ids(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    post_mail(double.url, mail_body("deferred.ann@example.com"))
    double.fire("deferred", double.mails[0])
    double.fire("deferred", double.mails[0])
    double.wait_until_posted(PATIENCE)
    ids = [event["sg_event_id"] for event in webhook.events if event["event"] == "deferred"]
    assert len(set(ids)) == len(ids) == 3


def test_a_recipient_can_reply(double: Client, webhook: WebhookReceiver) -> None:
    post_mail(double.url)
    (mail,) = double.mails
    with pytest.raises(ControlFailed, match="Set inbound_url first"):
        double.reply(mail, "Yes, please.")
    double.inbound_url = webhook.url
    double.reply(mail, "Yes, please.")
    wait_for(lambda: double.inbound_mails[0].statuses == [200], seconds=PATIENCE, what="the reply")
    (reply,) = double.inbound_mails
    assert (reply.sender, reply.to) == ("ada@example.com", "The shop <shop@example.org>")
    assert mail.id in str(reply.in_reply_to)
    assert b"Yes, please." in webhook.taken[0].body


def test_events_can_be_duplicated_and_disordered(double: Client, webhook: WebhookReceiver) -> None:
    double.duplicates = double.disorder = 1.0
    double.delay = 0.01
    double.webhook_url = webhook.url
    assert (double.duplicates, double.disorder, double.delay) == (1.0, 1.0, 0.01)
    assert (double.webhook_url, double.inbound_url) == (webhook.url, None)
    post_mail(double.url, mail_body("ann@example.com"))
    double.wait_until_posted(PATIENCE)
    assert webhook.names == {"processed": 2, "delivered": 2}
    assert [posted.statuses for posted in double.mails[0].events] == [[200, 200], [200, 200]]


def test_events_can_be_held(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    double.hold_events()
    post_mail(double.url)
    with pytest.raises(TimeoutError):
        double.wait_until_posted(0)
    double.release_events()
    double.wait_until_posted(PATIENCE)


def test_an_impossible_url_of_a_webhook_gets_no_answer(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = double.inbound_url = f"http://{'a' * 70}.example/"
    post_mail(double.url)
    double.reply(double.mails[0], "Thanks!")
    wait_for(
        lambda: double.mails[0].events and double.inbound_mails[0].statuses,
        seconds=PATIENCE,
        what="the posts",
    )
    assert set(double.mails[0].events[0].statuses + double.inbound_mails[0].statuses) == {None}
    double.webhook_url = double.inbound_url = webhook.url
    double.wait_until_posted(PATIENCE)
    wait_for(lambda: double.inbound_mails[0].statuses[-1] == 200, seconds=PATIENCE, what="the reply")


def test_without_a_webhook_the_wait_says_so(double: Client) -> None:
    post_mail(double.url)
    with pytest.raises(TimeoutError, match="webhook_url is not set"):
        double.wait_until_posted(0)


def test_clear_leaves_nothing(double: Client, webhook: WebhookReceiver) -> None:
    post_mail(double.url)
    double.refuse("eve@example.com")
    double.next(status=500)
    double.inbound_url = webhook.url
    double.duplicates = 0.5
    with ThreadPoolExecutor(1) as pool:
        held = double.hold()
        double.next(status=500)
        post_mail(double.url)  # the plan before the hold
        response = pool.submit(post_mail, double.url)
        held.wait_until_arrived(PATIENCE)
        double.clear()
        with pytest.raises(requests.ConnectionError):
            response.result(PATIENCE)
    assert (double.mails, double.requests, double.inbound_mails, double.posted) == ([], [], [], {})
    assert [double.webhook_url, double.inbound_url, double.duplicates] == [None, None, 0]
    double.webhook_url = webhook.url
    assert post_mail(double.url, mail_body("silent-eve@example.com")).status_code == 202
    double.wait_until_posted(PATIENCE)
    assert webhook.events == []


@pytest.mark.parametrize("after_accepting", [False, True])
def test_a_request_that_waits_during_clear_is_forgotten(double: Client, after_accepting: bool) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = double.hold(after_accepting=after_accepting)
        response = pool.submit(post_mail, double.url)
        held.wait_until_arrived(PATIENCE)
        double.clear()
        with pytest.raises(requests.ConnectionError):
            response.result(PATIENCE)
    assert (double.mails, double.requests) == ([], [])


def test_a_mail_whose_response_pauses_during_clear_is_forgotten(fake: FakeSendGrid, double: Client) -> None:
    paused = Event()

    def pauses(_: object) -> bool:
        paused.set()
        return True

    fake.next(responses.slow(0.5), when=pauses)
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(post_mail, double.url)
        assert paused.wait(PATIENCE)
        double.clear()
        with pytest.raises(requests.ConnectionError):
            response.result(PATIENCE)
    assert (double.mails, double.requests) == ([], [])


def test_an_event_in_flight_during_clear_is_not_retried(double: Client, webhook: WebhookReceiver) -> None:
    webhook.statuses = [500] * 1000
    double.webhook_url = webhook.url
    post_mail(double.url)
    assert webhook.came.wait(PATIENCE)
    double.clear()
    webhook.statuses = []
    double.webhook_url = webhook.url
    post_mail(double.url, mail_body("bounce@example.com"))
    double.wait_until_posted(PATIENCE)
    assert {event["email"] for event in webhook.events} == {"bounce@example.com"}
    assert len(double.mails[0].events) == 2


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda double: setattr(double, "duplicates", 2), "<= 1.0 - at `.*duplicates`"),
        (lambda double: setattr(double, "delay", -1), ">= 0.0 - at `.*delay`"),
        (lambda double: setattr(double, "webhook_url", "javascript:alert(1)"), "must begin with http"),
        (lambda double: double.next(status=99), "not a valid HTTPStatus"),
        (lambda double: double.next(status=101), "no final status"),
        (lambda double: double.next(times=0), ">= 1 - at `.*times`"),
        (lambda double: double.fire("open", double.mails[0], email=5), "email of an event must be a string"),
        (lambda double: double.fire("lost", double.mails[0]), "the events are delivered, deferred, bounce"),
        (lambda double: double.fire("open", double.mails[0], "eve@example.com"), "no recipient of the mail"),
        (lambda double: double.reply(double.mails[0], "", "eve@example.com"), "only a recipient"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_is_wrong(
    double: Client, webhook: WebhookReceiver, wrong: object, error: str
) -> None:
    double.inbound_url = webhook.url
    post_mail(double.url)
    assert callable(wrong)
    with pytest.raises(ControlFailed, match=error):
        wrong(double)


@pytest.mark.parametrize(
    ("request_line", "body", "status", "error"),
    [
        ("POST responses", '{"stauts": 500}', 400, "unknown field `stauts`"),
        ("POST responses", "[", 400, "Expecting value"),
        ("PATCH ", "[" * 100_000, 400, "too many levels"),
        ("POST events", '{"event": "open", "mail": "x", "recipient": "y"}', 404, "No mail has the id x"),
        ("POST nothing", "{}", 404, "GET /control/mails"),
        ("POST holds/0/wait", "{}", 404, "No hold has the number 0"),
        ("PUT mails", "{}", 404, "No such request"),
    ],
)
def test_a_wrong_request_to_the_control_api_is_an_error(
    double: Client, request_line: str, body: str, status: int, error: str
) -> None:
    method, _, path = request_line.partition(" ")
    response = requests.request(
        method,
        f"{double.page_url}control/{path}",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=PATIENCE,
    )
    assert response.status_code == status
    assert error in response.json()["error"]


def test_plans_and_mails_can_be_dropped_by_the_control_api(fake: FakeSendGrid, double: Client) -> None:
    fake.always(responses.server_error())
    for path in ("responses", "mails"):
        url, headers = f"{double.page_url}control/{path}", {"Content-Type": "application/json"}
        assert requests.delete(url, headers=headers, timeout=PATIENCE).status_code == 200
        assert post_mail(double.url).status_code == 202
    assert len(double.mails) == 1


def test_half_a_surrogate_pair_is_no_obstacle(double: Client) -> None:
    post_mail(double.url, json.loads(json.dumps(mail_body()).replace("Your", "\\ud83d")))
    assert double.mails[0].subject == "\ud83d order"


def test_a_double_is_a_process_of_its_own() -> None:
    with client.start() as double:
        assert post_mail(double.url, Authorization="Bearer anything").status_code == 202
        assert len(double.mails) == 1
        assert len(double.public_key) > 100
    with pytest.raises(ControlFailed, match="gives no answer"):
        _ = double.mails


PROGRAM = """\
from fake_sendgrid import client
with client.start() as double:
    print(double.page_url, flush=True)
    input()
"""


def test_a_double_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        double = Client(parent.stdout.readline().strip())
        os.kill(parent.pid, signal.SIGKILL)

    def ended() -> bool:
        try:
            return double.mails is None
        except ControlFailed:
            return True

    wait_for(ended, seconds=PATIENCE, what="the end of the double")


FORKED = """\
import os, signal
from fake_sendgrid import client
with client.start() as double:
    child = os.fork()
    if not child:
        signal.pause()
print("ended", flush=True)
os.kill(child, signal.SIGKILL)
"""


def test_a_double_ends_while_a_forked_process_lives() -> None:
    program = [sys.executable, "-W", "ignore", "-c", FORKED]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "ended\n"
