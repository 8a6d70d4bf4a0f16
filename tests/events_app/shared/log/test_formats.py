"""Log lines for people and for programs: no text forges a line, and no line has an address."""

import datetime
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from events_app.shared.log.json_lines import JsonFormatter
from events_app.shared.log.lines import LineFormatter

logger = logging.getLogger("shop")

FORGED = "\n2026-11-29 10:00:00,000 ERROR bank: all is lost"


class Lines(logging.Handler):
    """The text that a handler writes, in both formats."""

    def __init__(self) -> None:
        super().__init__()
        self.line = self.json = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.line = LineFormatter().format(record)
        self.json = JsonFormatter().format(record)

    def fields(self) -> dict[str, Any]:
        assert "\n" not in self.json
        fields: dict[str, Any] = json.loads(self.json)
        return fields


class Wordless:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_value_cannot_forge_a_line(lines: Lines) -> None:
    logger.warning("Event %s failed", FORGED)
    assert lines.line.endswith(
        r"WARNING shop: Event \n2026-11-29 10:00:00,000 ERROR bank: all is lost failed"
    )
    assert lines.fields()["message"] == f"Event {FORGED} failed"


def test_the_message_of_an_exception_cannot_forge_a_line(lines: Lines) -> None:
    try:
        raise ValueError(f"no\x1b[2J{FORGED}")
    except ValueError:
        logger.exception("It failed")
    first, *rest = lines.line.split("\n")
    assert first.endswith("ERROR shop: It failed")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-2:] == [r"  ValueError: no\x1b[2J", "  2026-11-29 10:00:00,000 ERROR bank: all is lost"]
    assert all(line.startswith("  ") for line in rest)
    assert lines.fields()["exception"].endswith(FORGED)


def test_both_formats_work_in_one_process(lines: Lines) -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        record = logger.makeRecord(
            "shop", logging.ERROR, __file__, 1, "It failed", (), (type(error), error, None)
        )
    logging.Formatter().format(record)  # leaves its text on the record
    lines.emit(record)
    assert lines.line.split("\n")[1:] == ["  ValueError: no"]
    assert lines.fields()["exception"] == "ValueError: no"


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_addresses_are_logged_at_level_debug_alone(lines: Lines, caplog: Any, level: str) -> None:
    fields = {
        "recipient": "ann@example.com",
        "others": ["bob@example.com"],
        "reply": {"to": "eve@example.com"},
    }
    with caplog.at_level(level):
        try:
            raise ValueError("no eve@example.com")
        except ValueError:
            logger.exception("For %s", "ann@example.com", extra=fields)
    for text in (lines.line, lines.json):
        assert ("ann@" in text, "eve@" in text) == (level == "DEBUG", level == "DEBUG")
        assert "@example.com" in text
    assert ("bob@" in lines.json) == (level == "DEBUG")


def test_a_json_line_has_the_fields_of_the_record(lines: Lines) -> None:
    logger.warning("Event %d", 7, extra={"event": 7, "request": object(), "_kind": "secret"})
    fields = lines.fields()
    assert fields.pop("time").endswith("+00:00")
    assert fields == {"level": "WARNING", "logger": "shop", "message": "Event 7", "event": 7}
    assert next(iter(lines.fields())) == "time"


@pytest.mark.parametrize("arguments", [("ann@example.com",), (Wordless(),)])
def test_a_line_that_cannot_be_formatted_is_named_without_its_arguments(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...]
) -> None:
    monkeypatch.setattr(logger, "propagate", False)  # pytest's own handlers would fail
    logger.error("%d mails\nleft", *arguments, extra={"shop": 3})
    message = lines.fields()["message"]
    assert lines.fields()["shop"] == 3
    assert message.startswith(f"A line cannot be formatted (TypeError at {__file__}:")
    assert message.endswith(r": '%d mails\nleft'")
    assert lines.line.endswith(message)
    assert "ann@" not in lines.line + lines.json


def test_any_object_is_a_field_and_none_shows_an_address(lines: Lines) -> None:
    cycle: list[Any] = ["ann@example.com"]
    cycle.append(cycle)
    values = {
        "error": ValueError("ann@example.com"),
        "recipients": {"ann@example.com"},
        "statuses": {"ann@example.com": "sent", (1, 2): 3},
        "body": b"ann@example.com \xff",
        "cycle": cycle,
        "wordless": Wordless(),
        "nan": float("nan"),
        "large": 10**5000,
        "half": "\ud800",
        "day": datetime.date(2026, 11, 29),
    }
    logger.warning("Odd", extra={"values": values, **values})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    fields = json.loads(lines.json, parse_constant=refuse)
    assert "ann@" not in lines.json
    assert fields["error"] == "ValueError: ***@example.com"
    assert fields["recipients"] == ["***@example.com"]
    assert fields["statuses"] == {"***@example.com": "sent", "(1, 2)": 3}
    assert (fields["nan"], fields["half"], fields["day"]) == ("nan", "\ud800", "2026-11-29")
    assert (fields["wordless"], fields["large"]) == ("<Wordless without a text>", "<int without a text>")


def test_an_extra_field_does_not_replace_the_level_or_the_logger(lines: Lines) -> None:
    logger.error("No", extra={"level": "DEBUG", "logger": "bank", "time": "never"})
    fields = lines.fields()
    assert (fields["level"], fields["logger"], fields["time"][:2]) == ("ERROR", "shop", "20")


def test_a_json_line_of_a_task_names_the_task(lines: Lines) -> None:
    app = Celery(set_as_current=False)

    @app.task(name="shop.count")
    def count() -> None:
        logger.warning("I count")

    task_id = count.apply().id
    assert (lines.fields()["task"], lines.fields()["task_id"]) == ("shop.count", task_id)


def test_celerys_own_line_about_a_task_names_the_task_without_its_arguments(lines: Lines) -> None:
    celery = logging.getLogger("celery.worker.strategy")
    celery.addHandler(lines)
    context = {"id": "1-2", "name": "shop.count", "args": "('ann@example.com',)"}
    celery.warning("Task %(name)s[%(id)s] received", context, extra={"data": context})
    celery.removeHandler(lines)
    assert (lines.fields()["task"], lines.fields()["task_id"]) == ("shop.count", "1-2")
    assert "ann" not in lines.json
    assert "data" not in lines.fields()


def test_a_field_named_data_is_no_task(lines: Lines) -> None:
    logger.warning("Sold", extra={"data": {"id": 7, "name": "a book"}})
    assert lines.fields()["data"] == {"id": 7, "name": "a book"}
    assert "task" not in lines.fields()
