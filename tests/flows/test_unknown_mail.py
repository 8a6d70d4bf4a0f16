"""A mail of unknown outcome is sent again only where its events would have come; no time is skipped here."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from fake_sendgrid import answers
from ground.process import Process
from ground.valkey import Valkey
from tests.flows.mailing import UNKNOWN_WAIT, Mailing
from tests.sending_app.wire import Wire, answering, response

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


def wait_for_decision(mailing: Mailing, address: str, error: str) -> None:
    """Until nothing can be decided, for this reason; fails when the mail is sent again in place of that."""
    mailing.wait_until(
        lambda: len(mailing.accepted(address)) > 1 or error in mailing.part_to(address).error,
        f"undecided: {error}",
    )
    assert len(mailing.accepted(address)) == 1
    assert mailing.part_to(address).state == "unknown"


def test_a_mail_whose_events_wait_to_be_stored_is_not_sent_again(mailing: Mailing) -> None:
    mailing.web()
    worker = mailing.worker()
    reader = mailing.read_mail()
    mailing.mailer()
    with mailing.opened_all_the_time(reader):
        mailing.sendgrid.next(answers.accept_and_hang_up())
        (message_id,) = mailing.call("send", to=[SILENT]).values()
        mailing.wait_for_states("accepted", "unknown")
        mailing.call("send", to=[LATER])
        mailing.wait_until(lambda: mailing.part_to(LATER).seen, "the later one heard of")
        worker.kill()
        assert mailing.post([{"event": "processed", "email": SILENT, "anymail_id": message_id}]) == 200

        wait_for_decision(mailing, SILENT, "Events wait to be stored")

    mailing.worker(name="successor")
    mailing.lapse()
    mailing.wait_until(lambda: mailing.part_to(SILENT).state == "accepted", "settled by its event")
    mailing.wait_until(lambda: not mailing.owed(), "all events received")
    assert len(mailing.accepted(SILENT)) == 1
    assert mailing.part_to(SILENT)[1:5] == (1, 1, True, False)


# An outage of the webhook in which nobody could count what was refused.

Outage: TypeAlias = Callable[[Mailing, Process], AbstractContextManager[None]]


@contextmanager
def web_killed(mailing: Mailing, web: Process) -> Iterator[None]:
    web.kill()
    yield
    mailing.web()


@contextmanager
def a_proxy_answers_502(mailing: Mailing, web: Process) -> Iterator[None]:
    url = mailing.sendgrid.webhook_url
    with Wire(answering(response(502))) as proxy:
        mailing.sendgrid.webhook_url = proxy.url
        yield
        mailing.sendgrid.webhook_url = url


@contextmanager
def redis_away(mailing: Mailing, web: Process) -> Iterator[None]:
    mailing.valkey.stop()
    yield
    mailing.valkey.start()


@contextmanager
def redis_away_and_empty_after_it(mailing: Mailing, web: Process) -> Iterator[None]:
    with redis_away(mailing, web):
        yield
    with mailing.redis() as redis:
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
def test_after_an_outage_a_later_mail_that_is_heard_of_proves_nothing(
    mailing: Mailing, broker: Valkey, outage: Outage, with_neighbour: bool
) -> None:
    mailing.configure(CELERY_BROKER_URL=broker.url(0))
    web = mailing.web()
    mailing.worker()
    reader = mailing.read_mail()
    mailing.mailer()
    mailing.sendgrid.next(answers.accept_and_hang_up(), when=goes_to(LOST))
    mailing.sendgrid.keep_refused()
    with mailing.opened_all_the_time(reader):
        with outage(mailing, web):
            mailing.call("send_many", mails=[[NEIGHBOUR], [LOST]] if with_neighbour else [[LOST]])
            refused = 4 if with_neighbour else 2
            mailing.wait_until(lambda: mailing.sendgrid.refused == refused, "their events refused")
            mailing.wait_until(lambda: mailing.part_to(LOST).state == "unknown", "nobody knows of one")
            if not with_neighbour:
                ends = time.monotonic() + UNKNOWN_WAIT / 4  # a shorter outage may be overlooked
                mailing.wait_until(lambda: time.monotonic() > ends, "the end of the outage")
        mailing.call("send", to=[LATER])
        mailing.wait_until(lambda: mailing.part_to(LATER).seen, "the later one heard of")

        wait_for_decision(mailing, LOST, "SendGrid's posts may not have reached us then")

    mailing.sendgrid.repeat_refused()
    mailing.wait_until(mailing.all_heard_of, "settled by the events that came late")
    assert len(mailing.accepted(LOST)) == 1
    assert mailing.part_to(LOST)[1:5] == (1, 1, True, False)


@pytest.mark.parametrize(
    ("servers", "answer"),
    [("sqlite", answers.hang_up()), ("postgres", answers.server_error(500))],
    indirect=["servers"],
    ids=["sqlite", "postgres"],
)
def test_a_mail_that_sendgrid_never_took_is_sent_again(mailing: Mailing, answer: answers.Answer) -> None:
    mailing.web()
    mailing.worker()
    reader = mailing.read_mail()
    mailing.mailer()
    with mailing.opened_all_the_time(reader):
        mailing.sendgrid.next(answer)
        mailing.call("send", to=[LOST])
        mailing.wait_for_states("accepted", "unknown")
        mailing.wait_for_states("accepted", "accepted")
    mailing.wait_until(mailing.all_heard_of, "heard of")
    assert len(mailing.accepted(LOST)) == 1
    assert mailing.part_to(LOST)[1:5] == (2, 1, True, False)
