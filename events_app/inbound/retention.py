"""Inbound mails at the end of their retention go, and files that belong to no mail."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, router

from events_app.conf import INBOUND_RETENTION_DAYS
from events_app.dispatch import retention
from events_app.dispatch.leases import Lease
from events_app.dispatch.retention import Removed
from events_app.inbound import storage
from events_app.models import InboundMail
from events_app.shared import counters

logger = logging.getLogger(__name__)

#: Mails, or files, that are looked at in one go. Fewer than events: a storage may be far away.
SLICE = 100

#: How long a file may be without a row. A post that takes this long to come in is none.
AGE = timedelta(hours=24)


def prune(lease: Lease) -> bool:
    """Remove mails that came longer ago than INBOUND_RETENTION_DAYS, and files without a mail.

    False when the budget ended before the last mail. The sweep of files asks for no more time: each hour has
    its own, and begins elsewhere. Raises what the database raises.
    """
    done = retention.remove(lease, INBOUND_RETENTION_DAYS.get(), SLICE, "file", _remove_files)
    if done:
        _sweep(lease)
    return done


def _remove_files(gone: Removed) -> None:
    """Of mails whose rows are gone already: whatever keeps us from it, the sweep takes what is left."""
    counters.count(counters.MAIL_PRUNED, len(gone.values))
    counters.count(counters.MAIL_PRUNED_DEAD_LETTER, gone.dead_letters)
    if gone.dead_letters:
        logger.warning(
            "Removed %d dead letters of inbound mails at the end of their retention", gone.dead_letters
        )
    with _quiet_about_the_storage():
        for file in gone.values:
            storage.remove(file)


def _sweep(lease: Lease) -> None:
    with _quiet_about_the_storage():
        old = storage.older_than(datetime.now(UTC) - AGE)
        while lease.has_budget() and (part := list(islice(old, SLICE))):
            for file in set(part) - _known(part):
                storage.remove(file)
                counters.count(counters.FILE_SWEPT)


def _known(files: list[str]) -> set[str]:
    """Those that belong to a mail."""
    mails = InboundMail.objects.using(router.db_for_write(InboundMail))
    return set(mails.filter(file__in=files).values_list("file", flat=True))


@contextmanager
def _quiet_about_the_storage() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
        logger.warning("Files of inbound mails are left, to be taken up again: %s", storage.why(error))
