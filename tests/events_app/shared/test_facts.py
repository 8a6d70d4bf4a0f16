"""The registry of facts: a fault of one source, or of one server, hides nothing else."""

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from kombu.exceptions import OperationalError
from redis import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from events_app.shared import facts
from events_app.shared.deadline import Threads
from events_app.shared.facts import (
    ANSWERS,
    DATABASE,
    FAULTY,
    REDIS,
    Depth,
    FactKind,
    Level,
    Reading,
    Readings,
    Server,
    declare,
    gather,
    source,
)

Read = Callable[[], Iterable[Reading]]

BROKER = Server("The broker", "Start it.")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sources and facts but those of the test."""
    monkeypatch.setattr(facts, "_sources", {})
    monkeypatch.setattr(facts, "declared", {})
    threads: dict[Server | None, Threads] = {}
    monkeypatch.setattr(facts, "_threads", lambda server: threads.setdefault(server, Threads("facts", 2)))


def add(read: Read, name: str = "read", depth: Depth = Depth.READINESS, server: Server | None = None) -> None:
    read.__qualname__ = name
    source(depth, server)(read)


def failing(error: Exception) -> Read:
    def read() -> Iterator[Reading]:
        yield from ()
        raise error

    return read


def test_a_fact_has_one_meaning() -> None:
    backlog = declare("backlog", "Waiting events")
    assert declare("backlog", "Waiting events") is not None
    with pytest.raises(ValueError, match=r"Two facts have the name backlog\."):
        declare("backlog", "Waiting mails")
    assert facts.declared == {"backlog": backlog}


def test_a_reading_has_the_labels_of_its_fact() -> None:
    mails = declare("mails", "Mails", labels=("lane", "state"))
    assert mails.read(3, "bulk", "waiting").labels == ("bulk", "waiting")
    with pytest.raises(ValueError, match=r"mails has the labels \('lane', 'state'\), not \('bulk',\)"):
        mails.read(3, "bulk")


def test_sources_are_read_up_to_a_depth_and_of_a_package() -> None:
    fact = declare("fact", "A fact", labels=("name",))
    for depth in reversed(Depth):
        add(lambda depth=depth: [fact.read(1, depth.name)], depth.name, depth)  # type: ignore[misc]
    assert [reading.labels for reading in gather(Depth.FIGURES)] == [("READINESS",), ("FIGURES",)]
    assert len(list(gather(Depth.EXAMINATION, package="tests.events_app"))) == 3
    assert not list(gather(Depth.EXAMINATION, package="tests.events"))


def test_readings_are_found_by_fact_and_labels() -> None:
    mails = declare("mails", "Mails", labels=("lane",))
    other = declare("other", "Another fact", FactKind.TEXT)
    readings = Readings(
        [
            mails.read(0, "bulk"),
            mails.read(7, "mail", level=Level.WARNING, text="Late.", advice="Start a worker."),
            other.read(None, text="So it is."),
        ]
    )
    assert (readings.value(mails, "mail"), readings.value(mails, "none"), readings.value(other)) == (
        7,
        None,
        None,
    )
    assert readings.lines(mails, other) == ["WARNING: Late. Start a worker.", "So it is."]
    assert readings.lines(other, mails, least=Level.ADVICE) == ["WARNING: Late. Start a worker."]


def test_a_server_that_is_away_is_asked_once_and_hides_nothing_else() -> None:
    fact, asked = declare("fact", "A fact"), []

    def ask() -> Iterator[Reading]:
        asked.append(1)
        raise RedisConnectionError("no route")

    add(ask, "first", server=REDIS)
    add(ask, "second", server=REDIS)
    add(lambda: [fact.read(5)], "third", server=DATABASE)
    readings = Readings(gather(Depth.READINESS))
    assert asked == [1]
    assert (
        readings.value(fact),
        readings.value(ANSWERS, "Redis"),
        readings.value(ANSWERS, DATABASE.name),
    ) == (5, 0, 1)
    assert readings.faults() == [
        "Redis cannot be asked: ConnectionError: no route. Start it, and look at EVENT_REDIS_URL. "
        "Until then the webhook answers 503."
    ]


def test_a_server_that_answers_one_question_and_not_the_next_does_not_answer() -> None:
    add(lambda: iter(()), "first", server=REDIS)
    add(failing(RedisConnectionError("gone")), "second", server=REDIS)
    assert [(reading.fact, reading.value) for reading in gather(Depth.READINESS)] == [(ANSWERS, 0)]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OperationalError("amqp://user:secret@rabbit failed"), "OperationalError."),
        (ConnectionRefusedError(errno.ECONNREFUSED, "secret"), "Connection refused."),
        (DatabaseError("first line\nsecret"), "DatabaseError: first line."),
        (ImproperlyConfigured("X must be set"), "ImproperlyConfigured: X must be set."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_every_kind_of_server_are_told_without_secrets(error: Exception, says: str) -> None:
    add(failing(error), server=BROKER)
    assert Readings(gather(Depth.READINESS)).faults() == [f"The broker cannot be asked: {says} Start it."]


def test_a_server_that_forbids_a_question_answers() -> None:
    fact = declare("fact", "A fact")
    add(failing(NoPermissionError("this user has no permissions to run the 'hgetall' command")), server=REDIS)
    add(lambda: [fact.read(1)], "allowed", server=REDIS)
    readings = Readings(gather(Depth.READINESS))
    assert (readings.value(fact), readings.value(ANSWERS, "Redis")) == (1, 1)
    (fault,) = readings.faults()
    assert fault.startswith("Redis refuses a question: an ACL of Redis forbids what this needs (")
    assert fault.endswith(
        ". Allow the command to the user of the URL. docs/redis.md has all that are needed."
    )


def test_a_server_that_answers_is_not_blamed_for_an_unusable_setting() -> None:
    add(lambda: iter(()), "first", server=REDIS)
    add(failing(ImproperlyConfigured("X must be set")), "second", server=REDIS)
    readings = Readings(gather(Depth.READINESS))
    assert readings.value(ANSWERS, "Redis") == 1
    assert readings.faults() == [
        "A setting is unusable: X must be set. manage.py check names all such settings."
    ]


@pytest.mark.parametrize("words", ["no such table: mails", 'relation "mails" does not exist'])
def test_missing_tables_are_told_as_such(words: str) -> None:
    add(failing(DatabaseError(words)), server=DATABASE)
    (fault,) = Readings(gather(Depth.READINESS)).faults()
    assert fault.endswith(f"{words}. Run manage.py migrate.")


def test_an_unknown_error_is_logged_and_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    fact = declare("fact", "A fact")
    add(failing(KeyError("secret")), "broken", server=REDIS)
    add(lambda: [fact.read(1)], "sound", server=REDIS)
    readings = Readings(gather(Depth.READINESS))
    assert (readings.value(fact), readings.value(ANSWERS, "Redis")) == (1, 1)
    assert readings.faults() == [
        f"{__name__}.broken could not be read: KeyError. "
        "This is a fault of the program. Report it with the traceback in the log."
    ]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info
    assert isinstance(record.exc_info[1], KeyError)


def test_a_source_without_a_server_may_meet_an_unusable_setting(caplog: pytest.LogCaptureFixture) -> None:
    add(failing(ImproperlyConfigured("X must be set")))
    (reading,) = gather(Depth.READINESS)
    assert (reading.fact, reading.text) == (FAULTY, "A setting is unusable: X must be set.")
    assert not caplog.records


def test_a_frozen_server_holds_nobody_up() -> None:
    thaws = threading.Event()
    fact = declare("fact", "A fact")

    def hang() -> list[Reading]:
        thaws.wait()
        return []

    add(hang, "frozen", server=REDIS)
    add(lambda: [fact.read(1)], "next", server=DATABASE)
    try:
        for _ in range(3):  # two threads may hang
            readings = Readings(gather(Depth.READINESS, seconds=0.05))
            assert readings.faults()[0].startswith("Redis cannot be asked: no answer within 0.05 s. Start it")
            assert readings.value(fact) == 1
    finally:
        thaws.set()


def test_many_threads_may_gather_at_the_same_time() -> None:
    fact = declare("fact", "A fact")
    add(lambda: [fact.read(1)], "one", server=REDIS)
    add(failing(RedisConnectionError("gone")), "two", server=DATABASE)
    gathered: list[Readings] = []
    threads = [
        threading.Thread(target=lambda: gathered.append(Readings(gather(Depth.READINESS)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [readings.value(fact) for readings in gathered] == [1] * 8
    assert {readings.value(ANSWERS, DATABASE.name) for readings in gathered} == {0}


def test_with_an_order_the_readings_come_by_subject() -> None:
    backlog = declare("backlog", "Waiting events")
    for subject, depth in (("Redis", Depth.FIGURES), ("Mail", Depth.READINESS), ("Redis", Depth.READINESS)):

        def read(depth: Depth = depth) -> Iterator[Reading]:
            yield backlog.read(int(depth))

        read.__qualname__ = f"{subject} {depth}"
        source(depth, subject=subject)(read)
    found = [(reading.subject, reading.value) for reading in gather(Depth.FIGURES, order=["Redis"])]
    assert found == [("Redis", 1), ("Redis", 2), ("Mail", 1)]
    assert [reading.value for reading in gather(Depth.FIGURES)] == [1, 1, 2]


def test_the_subject_is_the_name_of_the_module_by_default() -> None:
    backlog = declare("backlog", "Waiting events")
    add(lambda: iter([backlog.read(1)]))
    (reading,) = gather(Depth.READINESS)
    assert reading.subject == "Test facts"
