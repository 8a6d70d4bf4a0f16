"""Limits repeated log lines: what strangers post, or what fails for each event, must not fill the disk."""

import atexit
import logging
import time
from collections.abc import Hashable
from dataclasses import dataclass

#: Lines of a kind that a process logs in a window.
MOST = 10

#: Seconds of a window.
WINDOW = 60.0

#: The most kinds with a window at a time. Further kinds share a window.
MOST_KINDS = 1000


@dataclass
class _Window:
    ends: float
    level: int
    count: int = 0
    #: The last line that was left out. Not its record, which may hold the frames of a traceback.
    left_out: str = ""


class FloodLimit(logging.Filter):
    """A filter that passes `MOST` records of a kind per `WINDOW`, and then reports the number left out.

    The report comes with the next record of any kind after the window, or at the end of the process.

    On a logger, every record of the logger has a kind: the message before formatting, or `extra={"_kind":
    ...}` for a record with a narrower kind. On a handler, only the records that a stranger's request causes
    in Django have a kind: those of `django.request`, except errors, and of `django.security`, which lose
    their traceback.
    """

    def __init__(self, on_logger: bool = False) -> None:
        super().__init__()
        self._on_logger = on_logger
        # Without a lock: a fork may come at any time, and the child could wait for ever. A race only
        # miscounts.
        self._windows: dict[tuple[str, Hashable], _Window] = {}
        atexit.register(self._report_at_exit)

    def filter(self, record: logging.LogRecord) -> bool:
        # A report passes, and so does for a second handler a record that has passed the first one.
        if not hasattr(record, "_passes"):
            self.report(time.monotonic())
            kind = self._kind(record)
            record.__dict__["_passes"] = kind is None or self._count(record, kind)
        passes: bool = record.__dict__["_passes"]
        return passes

    def forget(self) -> None:
        """Begin all windows anew."""
        self._windows.clear()

    def report(self, until: float = float("inf")) -> None:
        """Log the number of lines left out in windows that have ended."""
        for key, window in list(self._windows.items()):
            if window.ends >= until or self._windows.pop(key, None) is None:
                continue
            if window.left_out:
                name, _ = key
                count = window.count - MOST
                logging.getLogger(name).log(
                    window.level,
                    "%d more lines like this in %d s were left out, the last one: %s",
                    *(count, WINDOW, window.left_out),
                    extra={"_passes": True, "left_out": count},
                )

    def _report_at_exit(self) -> None:
        # A handler's stream may be closed by now, and logging would print a traceback for that.
        logging.raiseExceptions = False
        self.report()

    def _count(self, record: logging.LogRecord, kind: Hashable) -> bool:
        """Count the record, and return whether it is within the limit."""
        if len(self._windows) >= MOST_KINDS:
            kind = None
        new = _Window(time.monotonic() + WINDOW, record.levelno)
        window = self._windows.setdefault((record.name, kind), new)
        window.count += 1
        if window.count > MOST:
            window.left_out = record.getMessage()
        return window.count <= MOST

    def _kind(self, record: logging.LogRecord) -> Hashable:
        if self._on_logger:
            kind: Hashable = getattr(record, "_kind", record.msg)
            return kind
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None  # Django's own frames only
            return record.name  # the message quotes the request
        is_refusal = record.name == "django.request" and record.levelno < logging.ERROR
        return record.msg if is_refusal else None


#: The filters of loggers, by the logger's name.
on_loggers: dict[str, FloodLimit] = {}


def limited_logger(name: str) -> logging.Logger:
    """A logger for lines that may come for each post or event."""
    logger = logging.getLogger(name)
    if name not in on_loggers:
        on_loggers[name] = FloodLimit(on_logger=True)
        logger.addFilter(on_loggers[name])
    return logger
