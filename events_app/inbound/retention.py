"""Removes inbound mails at the end of their retention, and files without a mail."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError

from events_app.conf import INBOUND_RETENTION_DAYS
from events_app.dispatch import retention
from events_app.dispatch.leases import Lease
from events_app.dispatch.retention import Removed
from events_app.inbound import storage
from events_app.models import InboundMail
from events_app.shared import counters
from events_app.shared.counting import count

logger = logging.getLogger(__name__)

#: Mails, or files, in one slice. Fewer than events: the storage may be slow.
SLICE = 100

#: How long a file may be without a row: no post takes that long to arrive.
AGE = timedelta(hours=24)


def remove_old_mails(lease: Lease) -> bool:
    """Remove mails older than INBOUND_RETENTION_DAYS, and files without a mail.

    False when the budget ended before the last mail. A sweep of files that the budget ends needs no further
    task: the next hour's sweep starts elsewhere. Raises a database error.
    """

    def remove_files(removed: Removed) -> None:
        # The rows are gone already. The sweep removes files that stay behind here.
        count(counters.INBOUND_PRUNED, by=removed.rows)
        count(counters.INBOUND_DEAD_LETTERS_PRUNED, by=removed.dead_letters)
        if removed.dead_letters:
            logger.warning(
                "Removed %d dead letters of inbound mails at the end of their retention", removed.dead_letters
            )
        with _log_storage_errors():
            for file in removed.values:
                storage.remove_file(file)

    if not retention.remove_old_rows(lease, INBOUND_RETENTION_DAYS.get(), SLICE, remove_files, "file"):
        return False
    with _log_storage_errors():
        old = storage.older_than(datetime.now(UTC) - AGE)
        while lease.has_budget() and (files := list(islice(old, SLICE))):
            rows = InboundMail.objects.filter(file__in=files)
            for file in set(files) - set(rows.values_list("file", flat=True)):
                storage.remove_file(file)
                count(counters.INBOUND_FILES_SWEPT)
    return True


@contextmanager
def _log_storage_errors() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
        logger.warning(
            "Could not remove files of inbound mails (%s); the next sweep retries",
            storage.describe_error(error),
        )
