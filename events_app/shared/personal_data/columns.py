"""A place of the registry that is some columns of a table."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from django.db import router, transaction
from django.db.models import JSONField, Model, QuerySet

from events_app.shared.database import slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts, Place

#: Rows of a slice. A text may have megabytes.
SLICE = 200


def columns_place(name: str, model: type[Model], *columns: str) -> Place:
    """The place of the texts, bytes and JSON values in these columns. `name` is a plural noun for the rows.

    The pseudonym takes the place of the address. A text that becomes too long for its column is cut.
    """

    def count(person: Person) -> Iterator[Counts]:
        for slice_ in _slices(model, columns):
            yield Counter({name: sum(bool(redacted(person, row, columns)) for row in slice_)})

    def erase(person: Person) -> Iterator[Counts]:
        for slice_ in _slices(model, columns):
            mentioning = [row.pk for row in slice_ if redacted(person, row, columns)]
            yield Counter({name: _erase(person, model, columns, mentioning) if mentioning else 0})

    return Place(name, count, erase)


def redacted(person: Person, row: Model, columns: tuple[str, ...]) -> dict[str, Any]:
    """The columns of a row that mention the person, with their values after the erasure."""
    changes = {}
    for column in columns:
        value, field = getattr(row, column), cast(Any, row._meta.get_field(column))
        if isinstance(field, JSONField):
            text = json.dumps(value)
            after = value if value is None or not person.is_in(text) else json.loads(person.redact(text))
        else:
            content = bytes(value) if isinstance(value, memoryview) else value
            after = person.redact(content) if content else value
            if after is content:
                after = value
            elif isinstance(after, str):
                after = after[: field.max_length]
        if after is not value:
            changes[column] = after
    return changes


def _erase(person: Person, model: type[Model], columns: tuple[str, ...], pks: list[Any]) -> int:
    using = router.db_for_write(model)
    erased = 0
    with transaction.atomic(using=using):
        # Anew, and locked: a worker may have changed a row since.
        for row in _rows(model, columns).filter(pk__in=pks).order_by("pk").select_for_update():
            if changes := redacted(person, row, columns):
                _rows(model, columns).filter(pk=row.pk).update(**changes)
                erased += 1
    return erased


def _slices(model: type[Model], columns: tuple[str, ...]) -> Iterator[list[Any]]:
    return slices(_rows(model, columns), SLICE)


def _rows(model: type[Model], columns: tuple[str, ...]) -> "QuerySet[Any]":
    rows = cast("QuerySet[Any]", model._default_manager.using(router.db_for_write(model)))
    return rows.only("pk", *columns)
