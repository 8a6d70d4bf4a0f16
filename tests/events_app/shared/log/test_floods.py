"""Repeated lines are limited and counted."""

import logging
from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from events_app.shared.log import floods
from events_app.shared.log.floods import MOST, WINDOW, FloodLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(floods, "time", clock)
    return clock


@pytest.fixture
def handler() -> Iterator[Lines]:
    """The handler of a deployment, on the root logger."""
    handler = Lines()
    handler.addFilter(FloodLimit())
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_a_line_beyond_the_limit_is_counted_and_reported_after_the_window(
    clock: Clock, handler: Lines
) -> None:
    logger = floods.limited_logger("tests.floods.first")
    for number in range(MOST + 5):
        logger.warning("Refused %d", number)
    logger.error("Another line")
    assert handler.messages == [*(f"Refused {number}" for number in range(MOST)), "Another line"]
    clock.now += WINDOW + 1
    logger.error("Another line")
    report, last = handler.records[-2:]
    assert report.getMessage() == "5 more lines like this in 60 s were left out, the last one: Refused 14"
    assert (report.levelname, report.name, report.__dict__["left_out"]) == ("WARNING", logger.name, 5)
    assert last.getMessage() == "Another line"
    logger.warning("Refused again")
    assert handler.messages[-1] == "Refused again"


def test_a_record_may_have_a_narrower_kind(clock: Clock, handler: Lines) -> None:
    logger = floods.limited_logger("tests.floods.second")
    for kind in ("one", "other") * MOST:
        logger.warning("Refused: %s", kind, extra={"_kind": kind})
    assert len(handler.records) == 2 * MOST


def test_the_number_of_kinds_is_limited(
    clock: Clock, handler: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floods, "MOST_KINDS", 3)
    logger = floods.limited_logger("tests.floods.third")
    for kind in range(100):
        logger.warning("Refused", extra={"_kind": kind})
    assert len(handler.records) == 3 + MOST


def test_strangers_hosts_and_paths_are_limited(clock: Clock, handler: Lines, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    for number in range(3 * MOST):
        Client(headers={"host": f"stranger{number}.example"}).get("/")
        Client().get(f"/wp-login-{number}.php")
    assert not [record for record in handler.records if record.exc_info]
    names = [record.name for record in handler.records]
    assert names.count("django.security.DisallowedHost") == names.count("django.request") == MOST


def test_errors_of_the_site_and_other_lines_are_not_limited(clock: Clock, handler: Lines) -> None:
    for _ in range(2 * MOST):
        logging.getLogger("django.request").error("Internal Server Error: %s", "/")
        logging.getLogger("shop").warning("Sold out")
    assert len(handler.records) == 4 * MOST


def test_a_report_at_the_end_of_the_process(clock: Clock, handler: Lines) -> None:
    logger = floods.limited_logger("tests.floods.fourth")
    for _ in range(MOST + 1):
        logger.warning("Refused")
    floods.on_loggers[logger.name].report()
    assert handler.messages[-1].startswith("1 more lines like this")
