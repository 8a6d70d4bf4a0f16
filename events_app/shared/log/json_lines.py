"""The formatter of log lines for programs: one JSON object a line. It needs python-json-logger."""

import datetime
import logging
import math
from typing import Any

from celery import current_task
from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter as PythonJsonFormatter

from events_app.shared.escaping import without_addresses
from events_app.shared.log.lines import formatted, shows_addresses

#: Attributes that Django puts on records, and fields of every line.
_NOT_FIELDS = ("request", "server_time", "level", "logger")

#: Celery's loggers. Their lines about a task have the task as `data` (celery/app/trace.py).
_CELERY = "celery."

#: Levels of lists and dicts in a field. A list may hold itself.
_MOST_LEVELS = 10


class JsonFormatter(PythonJsonFormatter):
    """An object with `time`, `level`, `logger`, `message`, `exception`, and the fields of `extra=`.

    A record of a task has the task's name as `task`, and `task_id`. Addresses are masked, unless the root
    logger is at level DEBUG.
    """

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={
                "levelname": "level",
                "name": "logger",
                "exc_info": "exception",
                "stack_info": "stack",
            },
            reserved_attrs=[*RESERVED_ATTRS, *_NOT_FIELDS],
            timestamp="time",
        )

    def format(self, record: logging.LogRecord) -> str:
        return formatted(super().format, record)

    def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        if record.name.startswith(_CELERY):
            log_data.pop("data", None)  # with the arguments of the task
        name, task_id = _task_of(record)
        if task_id:
            log_data |= {"task": name, "task_id": task_id}

    def process_log_record(self, log_data: LogData) -> LogData:
        fields: LogData = _plain({"time": log_data.pop("time"), **log_data})
        return fields


def _task_of(record: logging.LogRecord) -> tuple[str | None, str | None]:
    """The name and the id of the task that the record is about, or that logged it."""
    data = record.__dict__.get("data")
    if record.name.startswith(_CELERY) and isinstance(data, dict) and data.get("id"):
        return data.get("name"), data["id"]
    return (current_task.name, current_task.request.id) if current_task else (None, None)


def _plain(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """`value` with masked addresses, as JSON can have it: other objects become texts."""
    if value is None or (isinstance(value, int) and value.bit_length() < 64):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if levels and isinstance(value, dict):
        return {_plain(_text(name)): _plain(inner, levels - 1) for name, inner in value.items()}
    if levels and isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, levels - 1) for inner in value]
    text = _text(value)
    return text if shows_addresses() else without_addresses(text)


def _text(value: object) -> str:
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
    except Exception:  # noqa: BLE001 (an object's own)
        return f"<{type(value).__name__} without a text>"
