"""The processes of Celery log as Django's `LOGGING` says, and what a receiver prints is logged at DEBUG."""

import logging
import threading
from typing import Any

import click
from celery.signals import celeryd_after_setup, setup_logging
from click.core import ParameterSource

from events_app.shared.log import failures

_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


# With a receiver of this signal Celery configures no logger (celery/app/log.py, `setup_logging_subsystem`).
# Without, it sets the root logger to WARNING unless there is `--loglevel`, and gives the tasks' loggers
# handlers of their own.
@setup_logging.connect(dispatch_uid="workers.logs.keep_logging")
def keep_logging(loglevel: int, **_: Any) -> None:
    """Keep Django's configuration. `--loglevel`, if given, has precedence over LOG_LEVEL."""
    context = click.get_current_context(silent=True)
    if context and context.get_parameter_source("loglevel") in _GIVEN:
        logging.getLogger().setLevel(loglevel)


@celeryd_after_setup.connect(dispatch_uid="workers.logs.log_prints")
def log_prints(instance: Any, **_: Any) -> None:
    """Log the prints of receivers at DEBUG: they may contain addresses.

    The children of the pool do the same (celery/concurrency/prefork.py, `process_initializer`).
    """
    instance.app.log.redirect_stdouts("DEBUG")
    # Python would print the traceback of a thread that fails.
    threading.excepthook = _report_thread


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread else "?"
    error = arguments.exc_value or arguments.exc_type()
    if not isinstance(error, SystemExit):  # as Python's own hook
        failures.report("The thread %s failed", name, error=error, packages=())
