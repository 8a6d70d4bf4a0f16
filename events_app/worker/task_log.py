"""What Celery logs of our tasks: nothing at INFO, and of a failure the type and the place of the exception.

Celery logs two lines for each task, and beat one for each tick: an idle deployment would log 30 lines a
second. The lines of a host project's own tasks stay.
"""

import logging

from events_app.shared import wakeup
from events_app.shared.log.failures import LOG_TRACEBACKS, place

#: The loggers that log a line for each task, with the position of the task's name in their arguments. None:
#: the arguments are a dict.
_LOGGERS = {
    "celery.worker.strategy": None,  # received
    "celery.worker.request": 0,  # discarded as expired: after an outage, each wake-up of the time
    "celery.app.trace": None,  # succeeded, ignored, failed
    "celery.beat": 1,  # sent
}


class OurTasks(logging.Filter):
    """A filter for Celery's loggers. At level DEBUG a logger logs everything."""

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        if _task_name(record) not in wakeup.registered:
            return True
        if record.levelno <= logging.INFO:
            return False
        self._shorten(record)
        return True

    def _shorten(self, record: logging.LogRecord) -> None:
        """Leave the exception out: its message may contain an address."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is None or not isinstance(record.args, dict) or LOG_TRACEBACKS.get():
            return
        file, line = place(error)
        record.args = {**record.args, "exc": f"{type(error).__name__} at {file}:{line}"}
        record.exc_info = record.exc_text = None


def install() -> None:
    """Filter in every Celery app of this process."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(present, OurTasks) for present in logger.filters):
            logger.addFilter(OurTasks())


def _task_name(record: logging.LogRecord) -> str | None:
    args, position = record.args, _LOGGERS.get(record.name)
    name: object = None
    if isinstance(args, dict):
        name = args.get("name")
    elif position is not None and isinstance(args, tuple) and len(args) > position:
        name = args[position]
    return name if isinstance(name, str) else None
