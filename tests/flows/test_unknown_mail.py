"""A mail of unknown outcome is sent again only where its events would have come; no time is skipped here."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from devstack.process import Process
from devstack.valkey import Valkey
from fake_sendgrid import responses
from tests.support.flows.mail_deployment import UNKNOWN_WAIT, MailDeployment
from tests.support.http_server import HttpServer, answering, response

LOST, NEIGHBOUR, LATER = "lost@example.com", "neighbour@example.com", "later@example.com"

#: No mail has events by itself at an address that begins so.
SILENT = "silent@example.com"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    """Another server than the one that keeps events."""
    with Valkey(tmp_path / "broker") as server:
        yield server


def goes_to(address: str) -> Callable[[dict[str, object]], bool]:
    return lambda mail: address in str(mail["personalizations"])


def wait_for_decision(mail_deployment: MailDeployment, address: str, error: str) -> None:
    """Until nothing can be decided, for this reason; fails when the mail is sent again in place of that."""
    mail_deployment.wait_until(
        lambda: len(mail_deployment.accepted(address)) > 1 or error in mail_deployment.part_to(address).error,
        f"undecided: {error}",
    )
    assert len(mail_deployment.accepted(address)) == 1
    assert mail_deployment.part_to(address).state == "unknown"


def test_a_mail_with_events_in_the_backlog_is_not_sent_twice(mail_deployment: MailDeployment) -> None:
    mail_deployment.web()
    worker = mail_deployment.worker()
    reader = mail_deployment.send_confirmed_mail()
    mail_deployment.mailer()
    with mail_deployment.posting_open_events(reader):
        mail_deployment.sendgrid.next(responses.accept_and_close_connection())
        (message_id,) = mail_deployment.call("send", to=[SILENT]).values()
        mail_deployment.wait_for_states("accepted", "unknown")
        mail_deployment.call("send", to=[LATER])
        mail_deployment.wait_until(lambda: mail_deployment.part_to(LATER).seen, "the later one heard of")
        worker.kill()
        assert (
            mail_deployment.post([{"event": "processed", "email": SILENT, "anymail_id": message_id}]) == 200
        )

        wait_for_decision(mail_deployment, SILENT, "Events wait to be stored")

    mail_deployment.worker(name="successor")
    mail_deployment.expire_leases()
    mail_deployment.wait_until(
        lambda: mail_deployment.part_to(SILENT).state == "accepted", "settled by its event"
    )
    mail_deployment.wait_until(lambda: not mail_deployment.pending(), "all events received")
    assert len(mail_deployment.accepted(SILENT)) == 1
    assert mail_deployment.part_to(SILENT)[1:5] == (1, 1, True, False)


# An outage of the webhook in which nobody could count what was refused.

Outage: TypeAlias = Callable[[MailDeployment, Process], AbstractContextManager[None]]


@contextmanager
def web_killed(mail_deployment: MailDeployment, web: Process) -> Iterator[None]:
    web.kill()
    yield
    mail_deployment.web()


@contextmanager
def a_proxy_answers_502(mail_deployment: MailDeployment, web: Process) -> Iterator[None]:
    url = mail_deployment.sendgrid.webhook_url
    with HttpServer(answering(response(502))) as proxy:
        mail_deployment.sendgrid.webhook_url = proxy.url
        yield
        mail_deployment.sendgrid.webhook_url = url


@contextmanager
def redis_away(mail_deployment: MailDeployment, web: Process) -> Iterator[None]:
    mail_deployment.valkey.stop()
    yield
    mail_deployment.valkey.start()


@contextmanager
def redis_away_and_empty_after_it(mail_deployment: MailDeployment, web: Process) -> Iterator[None]:
    with redis_away(mail_deployment, web):
        yield
    with mail_deployment.redis() as redis:
        redis.flushdb()


@pytest.mark.parametrize(
    ("servers", "outage", "with_neighbour"),
    [
        pytest.param("sqlite", web_killed, True, id="sqlite-web_killed"),
        pytest.param("postgres", web_killed, False, id="postgres-web_killed-alone"),
        pytest.param("postgres", a_proxy_answers_502, True, id="postgres-502"),
        pytest.param("sqlite", redis_away, False, id="sqlite-redis_away-alone"),
        pytest.param("postgres", redis_away, True, id="postgres-redis_away"),
        pytest.param("postgres", redis_away_and_empty_after_it, True, id="postgres-redis_flushed"),
    ],
    indirect=["servers"],
)
def test_after_a_webhook_outage_events_of_later_mails_do_not_prove_non_delivery(
    mail_deployment: MailDeployment, broker: Valkey, outage: Outage, with_neighbour: bool
) -> None:
    mail_deployment.configure(CELERY_BROKER_URL=broker.url(0))
    web = mail_deployment.web()
    mail_deployment.worker()
    reader = mail_deployment.send_confirmed_mail()
    mail_deployment.mailer()
    mail_deployment.sendgrid.next(responses.accept_and_close_connection(), when=goes_to(LOST))
    mail_deployment.sendgrid.pause_retries()
    with mail_deployment.posting_open_events(reader):
        with outage(mail_deployment, web):
            mail_deployment.call("send_many", mails=[[NEIGHBOUR], [LOST]] if with_neighbour else [[LOST]])
            refused = 4 if with_neighbour else 2
            mail_deployment.wait_until(
                lambda: mail_deployment.sendgrid.failed_event_count == refused, "their events refused"
            )
            mail_deployment.wait_until(
                lambda: mail_deployment.part_to(LOST).state == "unknown", "nobody knows of one"
            )
            if not with_neighbour:
                ends = time.monotonic() + UNKNOWN_WAIT / 4  # a shorter outage may be overlooked
                mail_deployment.wait_until(lambda: time.monotonic() > ends, "the end of the outage")
        # Web's circuit breaker may refuse posts for a moment more, and the fake retries no post.
        mail_deployment.wait_until(
            lambda: mail_deployment.post_open_event(reader) == 200, "posts accepted again"
        )
        mail_deployment.call("send", to=[LATER])
        mail_deployment.wait_until(lambda: mail_deployment.part_to(LATER).seen, "the later one heard of")

        wait_for_decision(mail_deployment, LOST, "SendGrid's posts may not have reached us then")

    mail_deployment.sendgrid.resume_retries()
    mail_deployment.wait_until(mail_deployment.all_confirmed, "settled by the events that came late")
    assert len(mail_deployment.accepted(LOST)) == 1
    assert mail_deployment.part_to(LOST)[1:5] == (1, 1, True, False)


@pytest.mark.parametrize(
    ("servers", "answer"),
    [("sqlite", responses.close_connection()), ("postgres", responses.server_error(500))],
    indirect=["servers"],
    ids=["sqlite", "postgres"],
)
def test_a_mail_that_sendgrid_never_accepted_is_retried(
    mail_deployment: MailDeployment, answer: responses.ApiResponse
) -> None:
    mail_deployment.web()
    mail_deployment.worker()
    reader = mail_deployment.send_confirmed_mail()
    mail_deployment.mailer()
    with mail_deployment.posting_open_events(reader):
        mail_deployment.sendgrid.next(answer)
        mail_deployment.call("send", to=[LOST])
        mail_deployment.wait_for_states("accepted", "unknown")
        mail_deployment.wait_for_states("accepted", "accepted")
    mail_deployment.wait_until(mail_deployment.all_confirmed, "heard of")
    assert len(mail_deployment.accepted(LOST)) == 1
    assert mail_deployment.part_to(LOST)[1:5] == (2, 1, True, False)
