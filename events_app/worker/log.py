"""Shortens the log of a broken broker connection: a line in place of a traceback."""

import logging

import amqp
import redis
from billiard.exceptions import RestartFreqExceeded
from celery.beat import SchedulingError
from kombu.exceptions import OperationalError

from events_app.shared.redis_faults import advice

#: The errors of a broken connection, of any broker. Celery's consumer raises `RestartFreqExceeded` after five
#: reconnects within a second.
_BREAKS = (
    *(OSError, OperationalError, RestartFreqExceeded),
    *(redis.ConnectionError, redis.TimeoutError, amqp.ConnectionError),
)

#: Without `celery.app.trace`: a task may fail over its own connection, and needs its traceback. Without
#: `celery.worker.worker`, which reports the error that ends a worker.
_LOGGERS = ("celery.beat", "celery.worker.consumer", "celery.worker.request", "celery.worker.pidbox", "kombu")

#: Celery's consumer warns about this setting at every break (celery/worker/consumer/consumer.py,
#: `on_connection_error_after_connected`), and Celery always logs warnings (celery/app/log.py).
_ADVISED = "worker_cancel_long_running_tasks_on_connection_loss"


class OneLineABreak(logging.Filter):
    """A filter for the handlers in Django's `LOGGING`. The line ends with the name of the exception's class.

    Celery and kombu log a traceback for every use of the broken connection, with frames of Celery and kombu
    only. A logger at level DEBUG keeps tracebacks.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        if record.name == "py.warnings":
            return _ADVISED not in record.getMessage()
        if record.name.startswith(_LOGGERS) and (error := _broken_connection(record)):
            # Beat adds its call stack, as a list on a line of its own (celery/beat.py, `apply_entry`).
            lines = [line for line in record.getMessage().splitlines() if not line.startswith("[")]
            line = " ".join(lines)
            if told := advice(error):
                line = line.replace(str(error), told)
            record.msg = f"{line} ({type(error).__name__})"
            record.args = record.exc_info = record.exc_text = None
        return True


def _broken_connection(record: logging.LogRecord) -> BaseException | None:
    arguments = record.args if isinstance(record.args, tuple) else ()
    candidates = [*(record.exc_info or ()), *arguments]
    error = next((candidate for candidate in candidates if isinstance(candidate, BaseException)), None)
    if isinstance(error, SchedulingError):
        error = error.__context__
    return error if isinstance(error, _BREAKS) else None
