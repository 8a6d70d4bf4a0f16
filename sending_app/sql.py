"""The hand-written SQL of sending.

Django's ORM cannot write these statements, or takes longer to build a statement than the database to run it.
On SQLite, the ORM writes new messages; every other statement runs on both databases.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db import connections
from django.db.models import Model
from django.db.models.functions import Now
from django.utils import timezone

from events_app.shared.personal_data.pseudonyms import PREFIX
from sending_app.account import Account
from sending_app.models import Mail, MessageLabel, OutboxMessage, Recipient, Suppression

# All inserts in one statement, because every statement of a `send()` is a wait for the network.
_INSERT_MESSAGE = """
WITH message AS (
    INSERT INTO {message} ({message_columns})
    SELECT kept.* FROM (VALUES {message_values}) AS kept WHERE {may_insert} RETURNING id
),
"""
_INSERT_LABELS = """
label AS (
    INSERT INTO {label} (message_id, {label_columns})
    SELECT message.id, kept.* FROM message, (VALUES {label_values}) AS kept
),
"""
_INSERT_MAIL = """
mail AS (
    INSERT INTO {mail} (message_id, {mail_columns})
    SELECT message.id, kept.* FROM message, (VALUES {mail_values}) AS kept RETURNING id
)
INSERT INTO {recipient} (mail_id, {recipient_columns})
SELECT mail.id, kept.* FROM mail, (VALUES {recipient_values}) AS kept
"""

# Takes the longest due mails and returns everything a post needs, because a lease is most of a mail's cost in
# the database. One statement on SQLite too: workers that first read a due mail and then update it would race
# for the same mail.
_LEASE = """
WITH next AS (
    SELECT id FROM sending_app_mail
    WHERE state = 'waiting' AND lane = %(lane)s AND due <= {now} AND alias IN ({aliases}) AND {may_post}
    ORDER BY {order} LIMIT %(most)s {lock}
), numbered AS (SELECT id AS mail_id, row_number() OVER () AS number FROM next)
UPDATE sending_app_mail SET
    state = 'posting', attempt_token = %(attempt)s + id, attempts = attempts + 1,
    attempted_at = {now}, task_id = CASE number {task_ids} END,
    account = CASE alias {fingerprints} END, due = CASE alias {lease_ends} END,
    paused_at = CASE WHEN account = CASE alias {fingerprints} END THEN paused_at END
FROM numbered WHERE id = mail_id
RETURNING {columns},
    (SELECT content FROM sending_app_outboxmessage AS message WHERE message.id = message_id) AS content,
    EXISTS (SELECT 1 FROM sending_app_attachment AS file WHERE file.message_id = sending_app_mail.message_id)
        AS has_files,
    {is_any_suppressed} AS is_any_suppressed
"""

_ALL_CIRCUITS_CLOSED = "NOT EXISTS (SELECT 1 FROM sending_app_opencircuit WHERE account IN ({fingerprints}))"

# A row that another transaction has locked is left out: its mail is accepted alone, and delays no other.
# The state is compared as in `models.still_in`.
_ACCEPT_BY_RESPONSE = """
WITH free AS (SELECT id FROM sending_app_mail WHERE id IN ({ids}) {lock})
UPDATE sending_app_mail SET
    state = 'accepted', x_message_id = new.column3, error = '', refused = FALSE,
    accepted_at = {now}, finished_at = {now}
FROM (VALUES {rows}) AS new
WHERE id = new.column1 AND id IN (SELECT free.id FROM free) AND attempt_token = new.column2
    AND state BETWEEN 'posting' AND 'posting' AND accepted_at IS NULL AND x_message_id = ''
RETURNING id, attempt_token
"""

# The worker that posts decides the state of a mail in posting. An acceptance that only events prove has the
# time of the first event.
_ACCEPT_BY_EVENTS = """
UPDATE sending_app_mail AS mail SET
    first_event_at = new.first_event_at,
    state = CASE WHEN state = 'posting' THEN state ELSE 'accepted' END,
    accepted_at = CASE
        WHEN accepted_at IS NULL OR accepted_at = mail.first_event_at THEN new.first_event_at
        ELSE accepted_at
    END,
    finished_at = COALESCE(finished_at, {now}),
    error = '',
    refused = FALSE
FROM ({rows}) AS new
WHERE mail.id = new.id AND (mail.first_event_at IS NULL OR new.first_event_at < mail.first_event_at)
"""

# `RecipientUpdate` combines the events of a batch by the same rule.
_IS_FURTHER = """(
    new.rank > old.rank
    OR new.rank = old.rank AND (new.status_at, new.reject_reason) < (old.status_at, old.reject_reason)
)"""

# The columns of `Recipient` that events set, each with the condition for the new value.
_MOVES = dict.fromkeys(("rank", "status", "status_at", "reject_reason"), _IS_FURTHER) | {
    column: f"(new.{column} < old.{column} OR old.{column} IS NULL AND new.{column} IS NOT NULL)"
    for column in ("opened_at", "clicked_at", "complained_at", "unsubscribed_at")
}
_NEW_VALUES = ", ".join(
    f"{column} = CASE WHEN {condition} THEN new.{column} ELSE old.{column} END"
    for column, condition in _MOVES.items()
)

# Rows without a change are not written.
_MOVE_RECIPIENTS = f"""
UPDATE sending_app_recipient AS old SET {_NEW_VALUES}
FROM ({{rows}}) AS new WHERE old.id = new.id AND ({" OR ".join(dict.fromkeys(_MOVES.values()))})
"""  # noqa: S608 (conditions of ours)

_SUPPRESSION_COLUMNS = (
    *("address", "scope", "reason", "active", "since", "decided_at", "until", "source", "event_id"),
)

# SQLite needs the WHERE TRUE: without it, ON would begin the condition of a join.
_DECIDE_SUPPRESSIONS = f"""
INSERT INTO sending_app_suppression AS old ({", ".join(_SUPPRESSION_COLUMNS)})
SELECT {", ".join(_SUPPRESSION_COLUMNS)} FROM ({{rows}}) AS new WHERE TRUE
ON CONFLICT (address, scope, reason) DO UPDATE SET
    since = CASE WHEN old.active = excluded.active THEN old.since ELSE excluded.since END,
    active = excluded.active, decided_at = excluded.decided_at, until = excluded.until,
    source = excluded.source, event_id = excluded.event_id
WHERE excluded.decided_at > old.decided_at
    OR excluded.decided_at = old.decided_at AND excluded.active AND NOT old.active
"""  # noqa: S608 (columns of ours)

_NOT_OVER = "active AND (until IS NULL OR until > {now})"

_ACTIVE_SUPPRESSIONS = f"""
SELECT address, scope, reason FROM sending_app_suppression
WHERE address IN ({{addresses}}) AND scope IN ({{scopes}}) AND {_NOT_OVER}
"""  # noqa: S608 (conditions of ours)

# Without the scopes, which are in the content: whoever posts looks closer. Also at each mail while an erased
# person is suppressed: no database computes a pseudonym.
_IS_ANY_SUPPRESSED = f"""EXISTS (
    SELECT 1 FROM sending_app_recipient AS recipient
    JOIN sending_app_suppression AS suppression ON suppression.address = recipient.address
    WHERE recipient.mail_id = sending_app_mail.id AND recipient.status <> 'rejected' AND {_NOT_OVER}
) OR EXISTS (
    SELECT 1 FROM sending_app_suppression WHERE address {{begins}} '{PREFIX}{{any}}' AND {_NOT_OVER}
)"""  # noqa: S608 (conditions of ours)


class LookUp(NamedTuple):
    """The addresses and scopes of a look-up of active suppressions."""

    addresses: Sequence[str]
    scopes: Sequence[str]


def is_postgresql(database: str) -> bool:
    """Whether the database is PostgreSQL, which `insert_message` needs."""
    return connections[database].vendor == "postgresql"


def insert_message(  # noqa: PLR0913 (of one statement)
    database: str,
    message: OutboxMessage,
    mail: Mail,
    recipients: Sequence[Recipient],
    labels: Sequence[MessageLabel],
    *,
    unless: LookUp | None = None,
) -> bool:
    """Insert a message, its only mail, the recipients and labels. The instances get no primary keys.

    Inserts nothing, and returns False, if `unless` finds a suppression.
    """
    connection = connections[database]
    parameters: list[Any] = []
    names = {"may_insert": "TRUE"}
    for name, rows, generated in (
        ("message", [message], ("id",)),
        *([("label", labels, ("id", "message_id"))] * bool(labels)),
        ("mail", [mail], ("id", "message_id")),
        ("recipient", recipients, ("id", "mail_id")),
    ):
        # Fields with NULL are left out: PostgreSQL would take a NULL among VALUES for text.
        fields = [
            field
            for field in rows[0]._meta.concrete_fields
            if field.attname not in generated and getattr(rows[0], field.attname) is not None
        ]
        tuples = []
        for row in rows:
            column_values = [(field, getattr(row, field.attname)) for field in fields]
            placeholders = [
                "statement_timestamp()" if isinstance(value, Now) else "%s" for _, value in column_values
            ]
            tuples.append(f"({', '.join(placeholders)})")
            parameters += [
                field.get_db_prep_save(value, connection)
                for field, value in column_values
                if not isinstance(value, Now)
            ]
        names[name] = rows[0]._meta.db_table
        names[f"{name}_columns"] = ", ".join(str(field.column) for field in fields)
        names[f"{name}_values"] = ", ".join(tuples)
        if name == "message" and unless:
            addresses, scopes = [", ".join(["%s"] * len(texts)) for texts in unless]
            condition = _ACTIVE_SUPPRESSIONS.format(
                addresses=addresses, scopes=scopes, now="statement_timestamp()"
            )
            names["may_insert"] = f"NOT EXISTS ({condition})"
            parameters += [*unless.addresses, *unless.scopes]
    statement = _INSERT_MESSAGE + (_INSERT_LABELS if labels else "") + _INSERT_MAIL
    with connection.cursor() as cursor:
        cursor.execute(statement.format(**names), parameters)
        return bool(cursor.rowcount)


def lease_mails(  # noqa: PLR0913 (of one statement)
    database: str,
    lane: Mail.Lane,
    task_ids: Sequence[str],
    lease_times: Mapping[Account, timedelta],
    is_probe: bool,
    *,
    looks_up: bool,
) -> list[tuple[Mail, bool, bool]]:
    """Lease the lane's longest due mails of these accounts, if no circuit of the accounts is open.

    Each mail gets the id of another Celery task. A probe ignores open circuits, and takes random due mails,
    if possible mails that have not paused the account. Return each mail with its message, whether the
    message has attachments, and, if it `looks_up`, whether a recipient is suppressed in any scope.
    """
    attempt = secrets.randbits(62) + 1
    parameters: dict[str, Any] = {"lane": lane.value, "most": len(task_ids), "attempt": attempt}
    parameters |= {f"task{number}": task_id for number, task_id in enumerate(task_ids, 1)}
    delays = {"now": timedelta()}
    for number, (account, lease_time) in enumerate(lease_times.items()):
        parameters |= {f"alias{number}": account.alias, f"account{number}": account.fingerprint}
        delays[f"lease_end{number}"] = lease_time
    time, times = _times_from_now(database, **delays)

    def for_each_account(form: str, separator: str) -> str:
        return separator.join(form.format(number) for number in range(len(lease_times)))

    # The forms that an index serves.
    is_sqlite = connections[database].vendor == "sqlite"
    begins, any_text = ("GLOB", "*") if is_sqlite else ("LIKE", "%%")
    circuits_closed = _ALL_CIRCUITS_CLOSED.format(fingerprints=for_each_account("%(account{0})s", ", "))
    statement = _LEASE.format(
        now=time.format("now"),
        fingerprints=for_each_account("WHEN %(alias{0})s THEN %(account{0})s", " "),
        lease_ends=for_each_account("WHEN %(alias{0})s THEN " + time.format("lease_end{0}"), " "),
        task_ids=" ".join(f"WHEN {number} THEN %(task{number})s" for number in range(1, len(task_ids) + 1)),
        aliases=for_each_account("%(alias{0})s", ", "),
        may_post="TRUE" if is_probe else circuits_closed,
        order="paused_at IS NOT NULL, random()" if is_probe else "due",
        lock="" if is_sqlite else "FOR UPDATE SKIP LOCKED",
        columns=", ".join(str(field.column) for field in Mail._meta.concrete_fields),
        is_any_suppressed=(
            _IS_ANY_SUPPRESSED.format(now=time.format("now"), begins=begins, any=any_text)
            if looks_up
            else "FALSE"
        ),
    )
    leased = []
    for mail in Mail.objects.using(database).raw(statement, {**parameters, **times}):
        annotations = vars(mail)  # the columns that are no field of the model
        message_row = (mail.message_id, annotations["content"])
        mail.message = OutboxMessage.from_db(database, ("id", "content"), message_row)
        leased.append((mail, bool(annotations["has_files"]), bool(annotations["is_any_suppressed"])))
    return leased


def accept_by_response(database: str, responses: Sequence[tuple[Mail, str]]) -> set[tuple[int, int]]:
    """Accept mails by the responses to their current attempts, each a mail with its `x_message_id`.

    Return the id and the attempt token of each mail that is accepted. A mail is left out if this is not the
    first proof of its acceptance, or if another transaction has locked its row.
    """
    time, times = _times_from_now(database, now=timedelta())
    parameters: dict[str, Any] = {}
    for number, (mail, x_message_id) in enumerate(responses):
        parameters |= {f"id{number}": mail.pk, f"attempt{number}": mail.attempt_token}
        parameters[f"x_message_id{number}"] = x_message_id
    numbers = range(len(responses))
    statement = _ACCEPT_BY_RESPONSE.format(
        now=time.format("now"),
        ids=", ".join(f"%(id{number})s" for number in numbers),
        rows=", ".join(
            f"(%(id{number})s, %(attempt{number})s, %(x_message_id{number})s)" for number in numbers
        ),
        lock="FOR UPDATE SKIP LOCKED" if is_postgresql(database) else "",
    )
    with connections[database].cursor() as cursor:
        cursor.execute(statement, {**parameters, **times})
        return {(pk, token) for pk, token in cursor.fetchall()}


def accept_by_events(database: str, first_events: Mapping[int, datetime]) -> None:
    """Accept the mails of these ids, unless an event before `first_events` is recorded. They end now."""
    rows = [{"id": pk, "first_event_at": at} for pk, at in first_events.items()]
    now, times = "statement_timestamp()", list[object]()
    if not is_postgresql(database):
        now, times = "%s", [connections[database].ops.adapt_datetimefield_value(timezone.now())]
    statement = _ACCEPT_BY_EVENTS.format(now=now, rows="{rows}")
    _write_rows(database, statement, Mail, ("id", "first_event_at"), rows, *times)


def move_recipients(database: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Move recipients forward: to a status that is further, and to the first time of each engagement.

    A row has `id` and the columns of `Recipient` that events set.
    """
    _write_rows(database, _MOVE_RECIPIENTS, Recipient, ("id", *_MOVES), rows)


def decide_suppressions(database: str, rows: Sequence[Mapping[str, object]]) -> int:
    """Insert suppressions, or change those whose last word is older. Return the number of rows written.

    A row has all columns but the id. No two rows have an equal address, scope and reason.
    """
    return _write_rows(database, _DECIDE_SUPPRESSIONS, Suppression, _SUPPRESSION_COLUMNS, rows)


def active_suppressions(database: str, look_up: LookUp) -> list[tuple[str, str, str]]:
    """Address, scope and reason of each suppression that `look_up` finds."""
    time, times = _times_from_now(database, now=timedelta())
    # A single parameter for any number of addresses.
    each = "SELECT json_array_elements_text(%(addresses)s::json)"
    if connections[database].vendor == "sqlite":
        each = "SELECT value FROM json_each(%(addresses)s)"
    named = {f"scope{number}": scope for number, scope in enumerate(look_up.scopes)}
    statement = _ACTIVE_SUPPRESSIONS.format(
        addresses=each, scopes=", ".join(f"%({name})s" for name in named), now=time.format("now")
    )
    parameters = {"addresses": msgspec.json.encode(look_up.addresses).decode(), **named, **times}
    with connections[database].cursor() as cursor:
        cursor.execute(statement, parameters)
        return [(address, scope, reason) for address, scope, reason in cursor.fetchall()]


def _times_from_now(database: str, **delays: timedelta) -> tuple[str, Mapping[str, Any]]:
    """The form of the SQL for a time that is a parameter, and the parameters, named as their delays from now.

    SQLite has no clock of its own.
    """
    connection = connections[database]
    if connection.vendor == "sqlite":
        now, adapt = timezone.now(), connection.ops.adapt_datetimefield_value
        return "%({})s", {name: adapt(now + delay) for name, delay in delays.items()}
    return "statement_timestamp() + %({})s", delays


def _write_rows(
    database: str,
    statement: str,
    model: type[Model],
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    *parameters: Any,
) -> int:
    # A single parameter has all rows as JSON, because quoting every value costs more than the update.
    connection = connections[database]
    if connection.vendor == "postgresql":
        types = {column: model._meta.get_field(column).db_type(connection) for column in columns}
        names = ", ".join(f"{column} {sql_type}" for column, sql_type in types.items())
        query = f"SELECT * FROM json_to_recordset(%s) AS new ({names})"  # noqa: S608 (columns of ours)
    else:
        names = ", ".join(f"json_extract(value, '$.{column}') AS {column}" for column in columns)
        query = f"SELECT {names} FROM json_each(%s)"  # noqa: S608 (columns of ours)
        adapt = connection.ops.adapt_datetimefield_value
        rows = [
            {name: adapt(value) if isinstance(value, datetime) else value for name, value in row.items()}
            for row in rows
        ]
    with connection.cursor() as cursor:
        cursor.execute(statement.format(rows=query), [*parameters, msgspec.json.encode(rows).decode()])
        return int(cursor.rowcount)
