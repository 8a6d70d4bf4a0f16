"""The facts about the databases of the apps: version, migrations and indexes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Index, Model, UniqueConstraint

from events_app import sql
from events_app.shared.facts import DATABASE, Depth, Fact, FactKind, Level, Reading, declare, source
from events_app.shared.primary import PrimaryModel

#: The tested kinds, as Django names them.
TESTED = ("postgresql", "sqlite")

_LABELS = ("database",)
VERSION = declare("database_version", "The version of a database", FactKind.TEXT, _LABELS)
UNAPPLIED = declare("database_unapplied_migrations", "Migrations that the database lacks", labels=_LABELS)
UNKNOWN = declare("database_unknown_migrations", "Migrations that this version does not have", labels=_LABELS)
INDEXES = declare("database_missing_indexes", "Indexes that the database lacks", labels=_LABELS)
INVALID = declare("database_invalid_indexes", "Indexes that PostgreSQL did not finish", labels=_LABELS)


class _Missing(NamedTuple):
    """An index that a table lacks."""

    name: str
    table: str
    is_unique: bool
    #: The statement that makes it; empty if unknown.
    statement: str


@source(Depth.EXAMINATION, DATABASE)
def read_databases() -> Iterator[Reading]:
    """The facts about each database that has tables of the apps."""
    for alias, models in _models().items():
        connection = connections[alias]
        yield _version(connection)
        lacks_migrations = False
        for reading in _migrations(connection, {model._meta.app_label for model in models}):
            lacks_migrations |= reading.fact == UNAPPLIED and bool(reading.value)
            yield reading
        if not lacks_migrations:
            yield _indexes(connection, models)
        if connection.vendor == "postgresql":
            yield _invalid(connection, models)


def _models() -> dict[str, list[type[Model]]]:
    """The models of the apps, by the database that takes their writes."""
    models: dict[str, list[type[Model]]] = {}
    for model in apps.get_models():
        if issubclass(model, PrimaryModel):
            models.setdefault(router.db_for_write(model), []).append(model)
    return models


def _name(connection: BaseDatabaseWrapper) -> str:
    return "The database" if connection.alias == "default" else f'The database "{connection.alias}"'


def _version(connection: BaseDatabaseWrapper) -> Reading:
    # Connects. Django raises NotSupportedError for a version that is too old.
    connection.ensure_connection()
    numbers = ".".join(map(str, connection.get_database_version()))
    version = f"{connection.display_name} {numbers}"
    if connection.vendor in TESTED:
        return VERSION.read(version, connection.alias, text=f"{_name(connection)} is {version}.")
    return VERSION.read(
        version,
        connection.alias,
        level=Level.ERROR,
        text=f"{_name(connection)} is {version}, with which this project does not work.",
        advice="Use PostgreSQL, or SQLite for one machine: docs/databases.md",
    )


def _migrations(connection: BaseDatabaseWrapper, labels: set[str]) -> Iterator[Reading]:
    loader = MigrationExecutor(connection).loader
    applied = {key for key in loader.applied_migrations if key[0] in labels}
    ours = {key for key in loader.graph.nodes if key[0] in labels}
    option = "" if connection.alias == "default" else f" --database {connection.alias}"
    yield _count(
        UNAPPLIED,
        connection,
        [f"{app}.{name}" for app, name in sorted(ours - applied)],
        "lacks the migrations",
        f"Run manage.py migrate{option}.",
        otherwise=f"{_name(connection)} has all migrations.",
    )
    yield _count(
        UNKNOWN,
        connection,
        # A squashed migration replaces others, which stay recorded.
        [f"{app}.{name}" for app, name in sorted(applied - ours - loader.replacements.keys())],
        "has migrations that this version of the code does not have:",
        "A newer version has migrated the database. Run that version, or migrate back with it.",
    )


def _indexes(connection: BaseDatabaseWrapper, models: Sequence[type[Model]]) -> Reading:
    missing = [index for model in models for index in _missing(connection, model)]
    statements = " ".join(f"{index.statement};" for index in missing if index.statement)
    return _count(
        INDEXES,
        connection,
        [f"{index.name} (of {index.table})" for index in missing],
        "lacks the indexes",
        f"Somebody has dropped them. Make them again: {statements or 'compare with manage.py sqlmigrate'}",
        otherwise=f"{_name(connection)} has all indexes.",
        # Without a unique key events are stored twice; without another index queries read whole tables.
        level=Level.ERROR if any(index.is_unique for index in missing) else Level.WARNING,
    )


def _missing(connection: BaseDatabaseWrapper, model: type[Model]) -> Iterator[_Missing]:
    table, editor = model._meta.db_table, connection.schema_editor(collect_sql=True)
    there = sql.constraints(table, connection.alias)
    for index in (*model._meta.indexes, *model._meta.constraints):
        if isinstance(index, Index | UniqueConstraint) and index.name not in there:
            statement: Any = index.create_sql(model, editor)
            yield _Missing(str(index.name), table, isinstance(index, UniqueConstraint), str(statement))
    indexed = {tuple(there[name]["columns"]) for name in there if _is_index(there[name])}
    field: Any
    for field in model._meta.local_fields:
        if (field.unique or field.db_index) and (field.column,) not in indexed:
            yield _Missing(f"on {field.column}", table, field.unique, "")


def _is_index(constraint: Any) -> bool:
    return bool(constraint["index"] or constraint["unique"] or constraint["primary_key"])


def _invalid(connection: BaseDatabaseWrapper, models: Sequence[type[Model]]) -> Reading:
    names = sql.invalid_indexes([model._meta.db_table for model in models], connection.alias)
    repairs = " ".join(f"REINDEX INDEX CONCURRENTLY {connection.ops.quote_name(name)};" for name in names)
    return _count(
        INVALID,
        connection,
        names,
        "does not use the indexes",
        f"A CREATE INDEX CONCURRENTLY was cut off. Make them anew: {repairs}",
        level=Level.WARNING,
    )


def _count(  # noqa: PLR0913 (each has a name)
    fact: Fact,
    connection: BaseDatabaseWrapper,
    names: Sequence[str],
    fault: str,
    advice: str,
    *,
    otherwise: str = "",
    level: Level = Level.ERROR,
) -> Reading:
    """The number of names; with names the fault, with its level and advice."""
    if not names:
        return fact.read(0, connection.alias, text=otherwise)
    text = f"{_name(connection)} {fault} {', '.join(names)}."
    return fact.read(len(names), connection.alias, level=level, text=text, advice=advice)
