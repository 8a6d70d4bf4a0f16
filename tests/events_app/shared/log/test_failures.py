"""Reports of failures: one line, with the type and the place of the exception."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from events_app.shared.log import failures
from events_app.shared.log.floods import MOST

ADDRESS = "ann@example.com"


def shop(**_: Any) -> None:
    try:
        json.loads(f"{{{ADDRESS}")
    except ValueError:
        raise LookupError(f"no {ADDRESS}") from None


def caught(receiver: Callable[[], object]) -> Exception:
    try:
        receiver()
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError


def report(receiver: str = "shop", event: int = 17) -> None:
    failures.report(
        "Receiver %s failed on event %d",
        *(receiver, event),
        error=caught(shop),
        packages=failures.packages_of(shop),
        fields={"receiver": receiver},
    )


def test_a_report_has_the_type_and_the_place_and_no_text_of_the_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report()
    (record,) = caplog.records
    at = f"{__file__}:{shop.__code__.co_firstlineno + 4}"
    assert record.getMessage() == f"Receiver shop failed on event 17: LookupError at {at}"
    assert (record.levelno, record.exc_info, record.funcName) == (
        logging.ERROR,
        None,
        "report",
    )
    fields = {name: getattr(record, name) for name in ("receiver", "error", "error_file", "error_line")}
    line = int(at.rpartition(":")[2])
    assert fields == {"receiver": "shop", "error": "LookupError", "error_file": __file__, "error_line": line}


def test_the_place_is_in_the_receivers_code_and_not_in_a_library() -> None:
    def reads(**_: Any) -> None:
        json.loads("{")

    error = caught(reads)
    assert failures.place(error, failures.packages_of(reads)) == (__file__, reads.__code__.co_firstlineno + 1)
    file, line = failures.place(error)
    assert (file.endswith("json/decoder.py"), isinstance(line, int)) == (True, True)
    assert failures.place(ValueError()) == ("", None)


def test_at_level_debug_the_traceback_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        report()
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        ("ERROR", False),
        ("DEBUG", True),
    ]


def test_failures_of_one_kind_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    for event in range(3 * MOST):
        report("shop", event)
        report("bank", event)
    assert len(caplog.records) == 2 * MOST
