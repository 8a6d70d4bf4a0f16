"""A person in every place, and a search of the places as they lie on disk."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.db import connections
from django_celery_results.models import GroupResult, TaskResult

from events_app import stream
from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import HourlyCount, PendingDelivery, PendingInboundDelivery, UnfoldedCounts
from events_app.shared import redis
from events_app.shared.personal_data.person import Person
from tests.support.events.stored_events import NOON, stream_entries
from tests.support.inbound.mails import deliver_mails, keep_mail
from tests.support.inbound.storages import keep_file, now


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def codings(address: str) -> dict[str, str]:
    """The address in many codings."""
    return {
        "plain": address,
        "capitals": address.upper(),
        "quoted": '"{}"@{}'.format(*address.split("@")),
        "percent": quote(address, safe=""),
        "percent_all": "".join(f"%{byte:02x}" for byte in address.encode()),
        "html": address.replace("@", "&#64;"),
        "json": json.dumps({"to": f"<{address}>"}),
        "return_path": f"bounces+12-ab12-{address.replace('@', '=')}@em.example.org",
        "quoted_printable": address.replace("@", "=40"),
        **{f"base64_{shift}": base64_of("x" * shift + f" {address}\n and more") for shift in range(3)},
    }


def fill_events(address: str, database: str) -> None:
    """Events of the person and of others, in the table, in dead letters, and in Redis."""
    about = [
        {
            "event": event,
            "email": email,
            "timestamp": 1784030400,
            "sg_event_id": uuid.uuid4().hex,
            "anymail_id": "mail-1",
            "ip": "203.0.113.7",
            "useragent": "Mozilla",
            "reason": f"550 <{address}> unknown",
            "url": f"https://shop.example/?{quote(address)}",
            **codings(address),
        }
        for event in ("click", "bounce")
        for email in (address.upper(), "somebody@example.org")
    ]
    store.store(stream_entries(*about, json.dumps(about[0])[:-9].encode()), Lease())
    traceback = f"Traceback (most recent call last):\nValueError: {codings(address)}\n"
    for pending in PendingDelivery.objects.using(database).filter(error=""):
        pending.receivers = {"shop.mark": traceback}
        pending.error = f"Given up on {address}"
        pending.state, pending.lease = PendingDelivery.State.DEAD_LETTER, None
        pending.save()
    HourlyCount.objects.using(database).create(name="events", hour=NOON, label=address, count=1)
    UnfoldedCounts.objects.using(database).create(counts={"events": [[1, address, 2]]})
    waiting = [{**each, "sg_event_id": uuid.uuid4().hex} for each in about]
    stream.append("tracking", [json.dumps(each).encode() for each in waiting])


def _mail(sender: str, text: str, coding: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, "Desk <desk@parse.example.com>"
    mail["Subject"], mail["Message-ID"] = "A question", f"<{uuid.uuid4().hex}@mail.example.org>"
    mail.set_content(text, cte=coding)
    return mail


def fill_inbound(address: str, folder: Path) -> None:
    """Mails of the person and of others that mention the person, read and not yet read, and a lost file."""
    for read in (True, False):
        keep_mail(_mail(f"Ann <{address}>", "Where is it?\n", "7bit"))
        keep_mail(_mail("Bo <bo@example.org>", f"Ask {address.upper()}.\n", "base64"))
        keep_mail(_mail("Bo <bo@example.org>", "=" * 70 + f" {address} " + "é" * 80, "quoted-printable"))
        keep_mail(_mail("Bo <bo@example.org>", "Nobody.\n", "7bit"))
        if read:
            deliver_mails()
    for pending in PendingInboundDelivery.objects.filter(error=""):
        pending.receivers = {"shop.answer": f"ValueError: {address}"}
        pending.error = f"Given up on {address}"
        pending.save()
    lost = folder / keep_file(json.dumps(codings(address)).encode())
    # In the folder of its day: a file that is only said to be older would be of tomorrow after midnight.
    earlier = folder / f"{(now() - timedelta(days=2)).date()}"
    earlier.mkdir(exist_ok=True)
    lost.rename(earlier / lost.name)


def fill_others(address: str) -> None:
    """Rows of other apps: results of tasks, and the admin's log."""
    text = json.dumps(codings(address))
    TaskResult.objects.create(
        task_id=uuid.uuid4().hex, result=text, traceback=text, task_args=text, task_kwargs=text, meta=text
    )
    GroupResult.objects.create(group_id=uuid.uuid4().hex, result=text)
    user = get_user_model().objects.create(username=uuid.uuid4().hex)
    LogEntry.objects.create(
        user=user,
        object_id="1",
        object_repr=("." * 170 + f" {address}")[-200:],
        action_flag=CHANGE,
        change_message=text,
    )


def fill(address: str, database: str, folder: Path) -> None:
    """The person in every place of this app."""
    fill_events(address, database)
    fill_inbound(address, folder)
    fill_others(address)


def hits(person: Person, folder: Path) -> list[str]:
    """The places in which the person still is: in both databases, in Redis, and in files."""
    found = [
        f"{alias}: {place}" for alias in ("default", "postgres") for place in _in_database(person, alias)
    ]
    found += [f"Redis: {key}" for key in _in_redis(person)]
    found += [
        f"file {path.name}"
        for path in folder.rglob("*")
        if path.is_file() and person.is_in(path.read_bytes())
    ]
    return found


def _in_database(person: Person, alias: str) -> Iterator[str]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if person.is_in(Path(connection.settings_dict["NAME"]).read_bytes()):
                yield "the file"
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                for value in row:
                    content = bytes(value) if isinstance(value, memoryview | bytes) else str(value)
                    if person.is_in(content):
                        yield f"{table}: {content!r:.300}"


def _in_redis(person: Person) -> Iterator[str]:
    server = redis.for_workers()
    for key in server.scan_iter("*"):
        kind = cast(Any, server.type(key)).decode()
        read: dict[str, Callable[[bytes], object]] = {
            "stream": server.xrange,
            "hash": server.hgetall,
            "zset": lambda key: server.zrange(key, 0, -1),
            "set": server.smembers,
            "list": lambda key: server.lrange(key, 0, -1),
            "string": server.get,
        }
        if person.is_in(key) or person.is_in(repr(read[kind](key))):
            yield str(key)
