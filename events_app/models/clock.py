"""The clock that all workers share."""

from datetime import datetime

from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone


def database_now(using: str) -> datetime:
    """The database's clock, which all workers share. Leases go by it."""
    connection = connections[using]
    if connection.vendor == "sqlite":  # a library in our own process: its clock is ours
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
        return found


def its_now(using: str) -> datetime | Now:
    """The same as a value in a query, which takes no query of its own: when its statement begins."""
    return timezone.now() if connections[using].vendor == "sqlite" else Now()
