"""Reports a failure in one line: the exception's type and place. Its message may contain an address.

Sentry gets the exception itself, if the project has set up Sentry.
"""

import traceback
from collections.abc import Collection, Mapping

from events_app.shared.log.floods import limited_logger
from events_app.shared.log.sentry import SentryReports
from events_app.shared.setting import Setting, flag

LOG_TRACEBACKS = Setting(
    "LOG_TRACEBACKS",
    False,
    flag,
    meaning="Log whole tracebacks of failed receivers and of our own errors. They may contain addresses. "
    "[More](logs.md#a-failed-receiver).",
)

logger = limited_logger("events_app.failures")
logger.addFilter(SentryReports())


#: Our packages.
OURS = ("events_app", "sending_app")


def report(
    message: str,
    *args: object,
    error: BaseException,
    packages: Collection[str] = OURS,
    fields: Mapping[str, object] = {},
) -> None:
    """Log an error: the message, then the type of `error` and its place in `packages`.

    `fields` are fields of the line as JSON. The line has the traceback if LOG_TRACEBACKS is on; at level
    DEBUG the traceback has a line of its own. After `floods.MOST` failures of one type at one place in a
    window, lines are left out, and Sentry's events too.
    """
    name = type(error).__name__
    file, line = place(error, packages)
    at = f" at {file}:{line}" if file else ""
    failure = (error, fields)
    fields = {**fields, "error": name, "error_file": file, "error_line": line}
    whole = LOG_TRACEBACKS.get()
    logger.error(
        f"{message}: %s%s",
        *(*args, name, at),
        exc_info=error if whole else None,
        extra={
            **fields,
            "_kind": (message, fields.get("receiver"), name, file, line),
            "_failure": failure,
        },
        stacklevel=2,
    )
    if not whole:
        logger.debug(message, *args, exc_info=error, extra=fields, stacklevel=2)


def place(error: BaseException, packages: Collection[str] = OURS) -> tuple[str, int | None]:
    """File and line of the innermost frame in one of the packages, or else of the innermost frame."""
    frames = list(traceback.walk_tb(error.__traceback__))
    found = [frame for frame in frames if _package(frame[0].f_globals.get("__name__")) in packages] or frames
    if not found:
        return "", None
    frame, line = found[-1]
    return frame.f_code.co_filename, line


def packages_of(code: object) -> tuple[str, ...]:
    """The top-level package of a receiver's code."""
    package = _package(getattr(code, "__module__", None))
    return (package,) if package else ()


def _package(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""
