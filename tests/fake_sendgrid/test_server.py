"""FakeSendGrid responds as planned and logs accepted mails. All requests use real HTTP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from email import message_from_bytes
from email.policy import default

import pytest
import requests

from fake_sendgrid.inbound_form import parsed_form, raw_form
from fake_sendgrid.responses import (
    accept_and_close_connection,
    accept_and_respond,
    accepted,
    close_connection,
    error,
    html_page,
    rate_limited,
    server_error,
    slow,
)
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from tests.support.fake_sendgrid.api_requests import HEADERS, mail_body, mail_body_with, post_mail
from tests.support.fake_sendgrid.webhook_receiver import WebhookReceiver

Later = Callable[..., "Future[requests.Response]"]


@pytest.fixture
def fake() -> Iterator[FakeSendGrid]:
    with FakeSendGrid() as fake:
        yield fake


@pytest.fixture
def later(fake: FakeSendGrid) -> Iterator[Later]:
    """Posts a mail in a thread."""
    with ThreadPoolExecutor(20) as pool:
        yield lambda *args, **kwargs: pool.submit(post_mail, fake.url, *args, **kwargs)
        fake.close()  # nobody is left waiting


@pytest.mark.parametrize("names_refused", [True, False])
def test_a_mail_to_a_refused_address_is_refused_whole(fake: FakeSendGrid, names_refused: bool) -> None:
    fake.refused, fake.names_refused = {"bob@example.com", "eve@example.com"}, names_refused
    response = post_mail(fake.url, mail_body("ada@example.com", "bob@example.com", "eve@example.com"))
    assert (response.status_code, fake.accepted) == (400, [])
    fields = [one["field"] for one in response.json()["errors"]]
    named = ["personalizations.1.to.0.email", "personalizations.2.to.0.email"]
    assert fields == (named if names_refused else [None])
    assert post_mail(fake.url).status_code == 202


def test_a_mail_is_accepted_as_sendgrid_does(fake: FakeSendGrid) -> None:
    before = time.time()
    response = post_mail(fake.url)
    assert (response.status_code, response.content) == (202, b"")
    assert response.headers["Content-Length"] == "0"
    message_id = response.headers["X-Message-Id"]
    assert len(message_id) == 22
    assert message_id.replace("-", "").replace("_", "").isalnum()
    (taken,) = fake.accepted
    assert taken.body == json.loads(taken.raw) == mail_body()
    assert (taken.x_message_id, taken.key, taken.sandbox) == (message_id, "SG.fake", False)
    assert before <= taken.at <= time.time()
    (seen,) = fake.requests
    assert (seen.key, seen.status, seen.mail) == ("SG.fake", 202, mail_body())


def test_each_mail_has_a_unique_id(fake: FakeSendGrid) -> None:
    assert len({post_mail(fake.url).headers["X-Message-Id"] for _ in range(5)}) == 5


def test_a_sandboxed_mail_gets_200_and_has_no_events(fake: FakeSendGrid) -> None:
    response = post_mail(fake.url, mail_body(mail_settings={"sandbox_mode": {"enable": True}}))
    assert (response.status_code, response.content) == (200, b"")
    assert [taken.sandbox for taken in fake.accepted] == [True]
    fake.wait_until_posted(0)  # there is nothing to post


def test_an_invalid_mail_is_refused_and_logged(fake: FakeSendGrid) -> None:
    response = post_mail(fake.url, mail_body(subject=...))
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert [error["field"] for error in response.json()["errors"]] == ["subject"]
    assert fake.accepted == []
    assert [(seen.status, seen.mail) for seen in fake.requests] == [(400, None)]


def test_accepted_api_keys_can_change(fake: FakeSendGrid) -> None:
    fake.keys = {"SG.new"}
    assert post_mail(fake.url).status_code == 401
    assert post_mail(fake.url, Authorization="Bearer SG.new").status_code == 202
    assert [seen.key for seen in fake.requests] == ["SG.fake", "SG.new"]
    fake.keys = None
    assert post_mail(fake.url).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "scopes", 200),
        ("GET", "scopes?a=b", 200),
        ("POST", "scopes", 405),
        ("GET", "mail/send", 405),
        ("PATCH", "mail/send", 405),
        ("GET", "elsewhere", 404),
    ],
)
def test_other_endpoints_are_answered(fake: FakeSendGrid, method: str, path: str, status: int) -> None:
    response = requests.request(method, fake.url + path, headers=HEADERS, timeout=10)
    assert response.status_code == status
    if status == 200:
        assert "mail.send" in response.json()["scopes"]
    else:
        assert response.json()["errors"][0].keys() == {"message", "field", "help"}
    assert requests.request(method, fake.url + path, timeout=10).status_code == 401
    assert fake.requests == []


def test_scripted_answers_are_used_in_order(fake: FakeSendGrid) -> None:
    fake.next(server_error(503), html_page(504))
    fake.next(error(403, Fault("access forbidden", None)))
    found = [post_mail(fake.url) for _ in range(4)]
    assert [one.status_code for one in found] == [503, 504, 403, 202]
    assert found[1].text.startswith("<html>")
    assert found[2].json()["errors"] == [{"message": "access forbidden", "field": None, "help": None}]
    assert [seen.status for seen in fake.requests] == [503, 504, 403, 202]
    assert len(fake.accepted) == 1


def test_a_conditional_scripted_answer_waits_for_its_mail(fake: FakeSendGrid) -> None:
    fake.next(server_error(), when=lambda body: body["subject"] == "this one")
    assert [
        post_mail(fake.url, mail_body(subject=word)).status_code for word in ("a", "this one", "this one")
    ] == [
        202,
        500,
        202,
    ]


def test_an_invalid_mail_uses_up_no_scripted_answer(fake: FakeSendGrid) -> None:
    fake.next(server_error())
    assert [post_mail(fake.url, body).status_code for body in (mail_body(content=[]), mail_body())] == [
        400,
        500,
    ]


def test_a_permanent_answer_is_used_until_it_is_cleared(fake: FakeSendGrid) -> None:
    fake.always(server_error(500))
    fake.always(server_error(503), when=lambda body: "asm" in body)
    fake.next(html_page(502))
    bodies = [mail_body(), mail_body(), mail_body(asm={"group_id": 7})]
    assert [post_mail(fake.url, body).status_code for body in bodies] == [502, 500, 503]
    fake.clear()
    assert post_mail(fake.url).status_code == 202


def test_a_rate_limit_counts_from_each_answer(fake: FakeSendGrid) -> None:
    fake.always(rate_limited(30))
    response = post_mail(fake.url)
    assert response.status_code == 429
    assert response.json()["errors"]
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert abs(int(response.headers["X-RateLimit-Reset"]) - time.time() - 30) < 10
    assert fake.accepted == []


def test_an_accepted_answer_can_omit_the_message_id(fake: FakeSendGrid) -> None:
    fake.next(accepted(with_message_id=False))
    assert "X-Message-Id" not in post_mail(fake.url).headers
    assert len(fake.accepted) == 1


def test_hang_up_closes_the_connection_without_an_answer(fake: FakeSendGrid) -> None:
    fake.next(close_connection(), accept_and_close_connection())
    for taken in (0, 1):
        with pytest.raises(requests.ConnectionError):
            post_mail(fake.url)
        assert len(fake.accepted) == taken
    assert [seen.status for seen in fake.requests] == [None, None]


def test_an_accepted_mail_can_be_answered_with_an_error(fake: FakeSendGrid) -> None:
    fake.next(accept_and_respond(500))
    response = post_mail(fake.url)
    assert response.status_code == 500
    assert "X-Message-Id" not in response.headers
    assert len(fake.accepted) == 1


def test_a_slow_answer_is_delayed(fake: FakeSendGrid) -> None:
    fake.next(slow(0.2))
    began = time.monotonic()
    assert post_mail(fake.url).status_code == 202
    assert time.monotonic() - began >= 0.2


def test_delay_applies_to_every_mail() -> None:
    with FakeSendGrid(delay=0.2) as fake:
        began = time.monotonic()
        assert post_mail(fake.url).status_code == 202
        assert time.monotonic() - began >= 0.2


def test_a_held_mail_is_accepted_when_it_is_released(fake: FakeSendGrid, later: Later) -> None:
    held = fake.hold()
    answer = later()
    assert held.arrived.wait(10)
    assert (fake.accepted, fake.requests) == ([], [])
    assert post_mail(fake.url, mail_body("bob@example.com")).status_code == 202
    held.release()
    assert answer.result(10).status_code == 202
    assert len(fake.accepted) == 2


def test_an_accepted_mail_can_be_held_before_its_answer(fake: FakeSendGrid, later: Later) -> None:
    held = fake.hold(lambda body: body["subject"] == "this one", after_accepting=True)
    assert post_mail(fake.url).status_code == 202
    answer = later(mail_body("silent@example.com", subject="this one"))
    assert held.arrived.wait(10)
    assert len(fake.accepted_for("silent@example.com")) == 1
    assert not answer.done()
    held.release()
    response = answer.result(10)
    assert response.headers["X-Message-Id"] == fake.accepted[1].x_message_id


def test_a_client_timeout_does_not_undo_the_acceptance(fake: FakeSendGrid) -> None:
    held = fake.hold(after_accepting=True)
    with pytest.raises(requests.ReadTimeout):
        post_mail(fake.url, timeout=0.2)
    assert held.arrived.is_set()
    assert len(fake.accepted) == 1


def test_close_accepts_no_held_mail(later: Later, fake: FakeSendGrid) -> None:
    held = fake.hold()
    answer = later()
    assert held.arrived.wait(10)
    fake.close()
    with pytest.raises(requests.ConnectionError):
        answer.result(10)
    assert fake.accepted == []


def test_mails_are_found_by_address_and_by_custom_argument(fake: FakeSendGrid) -> None:
    one = mail_body_with(cc=[{"email": "Bob@example.com"}], custom_args={"anymail_id": "id-1"})
    for body in (one, one, mail_body("eve@example.com", custom_args={"anymail_id": "id-2"})):
        post_mail(fake.url, body)
    assert len(fake.accepted_for("id-1")) == len(fake.accepted_for("bob@example.com")) == 2
    assert len(fake.accepted_for("id-2")) == len(fake.accepted_for("eve@example.com")) == 1
    assert fake.accepted_for("id-3") == []


def test_many_concurrent_mails_are_each_accepted(fake: FakeSendGrid, later: Later) -> None:
    answers = [later(mail_body(f"r{number}@example.com")) for number in range(200)]
    assert {answer.result(60).status_code for answer in answers} == {202}
    assert all(len(fake.accepted_for(f"r{number}@example.com")) == 1 for number in range(200))


def test_received_mails_are_posted_in_parsed_mode_or_as_given(webhook: WebhookReceiver) -> None:
    mime = b"From: ann@example.com\r\nTo: shop@example.org\r\n\r\nHello\r\n"
    with FakeSendGrid() as fake:
        received = [
            fake.receive(mime),
            fake.receive(message_from_bytes(mime, policy=default)),
            fake.receive(raw_form(mime)),
        ]
        assert webhook.requests == []
        fake.inbound_url = webhook.url
        assert [one.wait(10) for one in received] == [200, 200, 200]
    assert fake.received == received
    bodies = [request.body for request in webhook.requests]
    assert bodies[:2] == [parsed_form(mime).body()] * 2
    assert bodies[2] == raw_form(mime).body()


def test_a_mail_to_a_reply_address_gets_a_reply_after_it_was_opened(webhook: WebhookReceiver) -> None:
    with WebhookReceiver() as inbox, FakeSendGrid(webhook_url=webhook.url, inbound_url=inbox.url) as fake:
        fake.hold_events()
        message_id = post_mail(fake.url, mail_body("reply.ann@example.com", "open@example.com")).headers[
            "X-Message-Id"
        ]
        assert fake.received == []
        fake.release_events()
        fake.wait_until_posted(10)
        (answer,) = fake.received
        assert answer.wait(10) == 200
        (request,) = inbox.requests
        assert f"In-Reply-To: <{message_id}@".encode() in request.body


def test_without_an_inbound_url_no_reply_is_sent(webhook: WebhookReceiver) -> None:
    with FakeSendGrid(webhook_url=webhook.url) as fake:
        post_mail(fake.url, mail_body("reply.ann@example.com"))
        fake.wait_until_posted(10)
        assert fake.received == []


def test_the_number_of_remembered_mails_is_limited() -> None:
    with FakeSendGrid(keep=2) as fake:
        ids = [post_mail(fake.url).headers["X-Message-Id"] for _ in range(3)]
        assert [taken.x_message_id for taken in fake.accepted] == ids[1:]
        assert len(fake.requests) == 2


def test_the_port_can_be_chosen() -> None:
    with FakeSendGrid() as first:
        url = first.url
    with FakeSendGrid(port=int(url.split(":")[2].split("/")[0])) as second:
        assert second.url == url
        assert post_mail(url).status_code == 202


def test_a_port_in_use_raises(fake: FakeSendGrid) -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="in use"):
        FakeSendGrid(port=int(fake.url.split(":")[2].split("/")[0]))
    assert threading.active_count() == before
