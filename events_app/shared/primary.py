"""A base of models: reads go to the database that takes the writes.

A project may have replicas, and a router (`DATABASE_ROUTERS`) that sends reads to them. A replica lags, so it
may lack the row that the last statement wrote. Django asks the router for every query without `using`, and
also for deferred columns and related rows, even if the row itself came from another database
(`Model.refresh_from_db`, `ForwardManyToOneDescriptor.get_queryset`).
"""

from typing import Any, TypeVar

from django.db import models, router

_Row_co = TypeVar("_Row_co", bound=models.Model, covariant=True)


def _database(rows: Any) -> str:
    """The database of a manager or a queryset."""
    # Not `using` in the manager: Django refuses a subquery that names another database than its query.
    return rows._db or router.db_for_write(rows.model, **rows._hints)


class PrimaryQuerySet(models.QuerySet[_Row_co]):
    """Asks the router only where it writes. `using` names another database."""

    db = property(_database)


class PrimaryManager(models.Manager[_Row_co]):
    db = property(_database)
    _queryset_class = PrimaryQuerySet


class PrimaryModel(models.Model):
    """The base of all our models."""

    objects = PrimaryManager()

    class Meta:
        abstract = True
        # The base manager reads deferred columns and the row of a foreign key.
        base_manager_name = "objects"
