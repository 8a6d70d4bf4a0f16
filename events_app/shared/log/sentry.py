"""Gives Sentry the exceptions of reported failures, if the project has set up sentry-sdk 2.

The log line of a failure has no exception, because the exception's text may contain an address. So the line
alone would be an event of Sentry's without a traceback.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress


class SentryReports(logging.Filter):
    """A filter that passes every record, and sends the record's exception to Sentry.

    A record has the exception and the tags as `_failure`. Add the filter after the flood limit: a line that
    is left out is no event.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        # A handler may send the record to another process, and not every exception can be pickled.
        error, fields = record.__dict__.pop("_failure", (None, {}))
        if error is not None and "sentry_sdk" in sys.modules:
            # A report must not fail. sentry-sdk 1 has other functions, and gets the line alone.
            with suppress(Exception):
                _capture(record, error, fields)
        return True


def _capture(record: logging.LogRecord, error: BaseException, fields: Mapping[str, object]) -> None:
    import sentry_sdk  # noqa: PLC0415 (only if the project has imported it)
    from sentry_sdk.integrations.logging import ignore_logger  # noqa: PLC0415

    if not sentry_sdk.get_client().is_active():
        return
    # Sentry's logging integration would make a second event of the line.
    ignore_logger(record.name)
    with sentry_sdk.new_scope() as scope:
        scope.set_extra("line", record.getMessage())
        for name, value in fields.items():
            if isinstance(value, str | int):
                # Each event of Sentry's has an `event_id` of Sentry's own.
                scope.set_tag(f"sendgrid_{name}" if name == "event_id" else name, value)
            else:
                scope.set_extra(name, value)
        sentry_sdk.capture_exception(error)
