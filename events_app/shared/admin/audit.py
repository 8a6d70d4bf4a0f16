"""The audit of content: who saw the content of which row. The history page of the row shows the lines."""

import logging
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model
from django.http import HttpRequest

_log = logging.getLogger(__name__)


def record_view(request: HttpRequest, row: Model, seen: str) -> None:
    """Record that the user saw content of the row. Call before making the response.

    Raises database errors: content that leaves no audit line is not shown.
    """
    user: Any = request.user
    rows: Any = [row]
    LogEntry.objects.log_actions(user.pk, rows, CHANGE, f"Viewed: {seen}.")
    _log.info("User %s viewed content of %s %s: %s.", user.pk, row._meta.verbose_name, row.pk, seen)
