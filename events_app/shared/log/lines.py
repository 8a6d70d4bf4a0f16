"""The formatter of log lines for people."""

import logging
from collections.abc import Callable
from copy import copy
from typing import Any

from events_app.shared.escaping import one_line, printable, without_addresses

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def shows_addresses() -> bool:
    """Whether the root logger is at level DEBUG, the only level at which addresses are logged."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def formatted(format_: Callable[[logging.LogRecord], str], record: logging.LogRecord) -> str:
    """The text of a record, or a text about its fault.

    Of a record that cannot be formatted, `logging` would print the arguments, and no formatter of ours could
    mask them. In a worker such a print is at level DEBUG, so nobody would see the fault.
    """
    record = copy(record)
    record.exc_text = None  # another handler's formatter may have put its own text there
    try:
        return format_(record)
    except Exception as error:  # noqa: BLE001 (of arguments' own methods)
        message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        record.msg = "A line cannot be formatted (%s at %s:%d): %r"
        record.args = (type(error).__name__, record.pathname, record.lineno, message)
        record.exc_info = record.stack_info = None
        return format_(record)


class LineFormatter(logging.Formatter):
    """A record on one line, and its traceback on indented lines below.

    No text of a record can forge a line: control characters of the message are escaped, and no line of a
    traceback begins at the margin. Addresses are masked, unless the root logger is at level DEBUG.
    """

    def __init__(self, fmt: str = _FORMAT, **options: Any) -> None:
        super().__init__(fmt, **options)

    def format(self, record: logging.LogRecord) -> str:
        line = formatted(super().format, record)
        return line if shows_addresses() else without_addresses(line)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record).rstrip())

    def formatException(self, ei: Any) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in printable(text).split("\n"))
