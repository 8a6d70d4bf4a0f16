"""The facts about the broker of Celery, and about the workers that answer through the broker."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import current_app
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection
from redis import RedisError, ResponseError

from events_app.monitoring import redis_server
from events_app.shared import heartbeats, wakeup
from events_app.shared.escaping import one_line
from events_app.shared.facts import Depth, Level, Reading, Server, declare, source

BROKER = Server(
    "The broker of Celery",
    "Start it, and look at its URL (CELERY_BROKER_URL). Until then no worker hears of new work: events wait "
    "in Redis, mails in the database, and none is lost.",
)

MESSAGES = declare("broker_queue_messages", "Messages that wait in a queue of the broker", labels=("queue",))
ANSWERING = declare("broker_workers", "Workers that answer through the broker")

#: Seconds to wait for a worker's answer. A worker answers in a tenth of that, unless it is busy or frozen.
ANSWER = 2.0

#: Messages of a queue that are worth a warning. A wake-up suppresses others: with a worker there are few.
MANY = 1000

# Brokers that tell the length of a queue by a cheap question.
_TELL_LENGTHS = ("amqp", "redis")


@source(Depth.EXAMINATION, BROKER)
def read_broker() -> Iterator[Reading]:
    """The facts about the broker's server and its queues."""
    with _connection() as connection:
        channel: Any = connection.default_channel
        driver = connection.transport.driver_type
        if driver == "redis":
            with suppress(ResponseError):  # an ACL may forbid INFO
                yield from redis_server.read_info(redis_server.BROKER, channel.client.info())
        if driver in _TELL_LENGTHS:
            yield from (_length(connection, queue) for queue in _queues())


@source(Depth.EXAMINATION, BROKER, "Workers")
def read_answers() -> Iterator[Reading]:
    """Compare the workers that answer through the broker with the workers that report to Redis."""
    try:
        reporting = {worker.name for worker in heartbeats.workers()}
    except (RedisError, ImproperlyConfigured):
        return  # other facts report that Redis does not answer
    with _connection() as connection:
        # SQS has no fanout, so nobody hears a question to all (docs/brokers.md).
        if "fanout" not in connection.transport.implements.exchange_type:
            return
        control: Any = current_app.control
        mailbox = control.mailbox(connection)
        mailbox.producer_pool = None  # that of the app may wait for its broker without a limit
        # With a limit it waits no longer than for the last worker.
        limit = len(reporting) or None
        answers: list[dict[str, Any]] = mailbox.multi_call("ping", {}, timeout=ANSWER, limit=limit)
    yield _compare(reporting, {name for answer in answers for name in answer})


def _compare(reporting: set[str], answering: set[str]) -> Reading:
    if silent := sorted(reporting - answering):
        return ANSWERING.read(
            len(answering),
            level=Level.ADVICE if answering else Level.WARNING,
            text=f"Workers report to Redis and do not answer through the broker: "
            f"{one_line(', '.join(silent))}.",
            advice="A worker may be too busy to answer: run this again. Else the worker uses another broker "
            "than this command, or has lost the connection: compare CELERY_BROKER_URL, and restart the "
            "worker.",
        )
    if answering and not reporting:
        return ANSWERING.read(
            len(answering),
            level=Level.WARNING,
            text="Workers answer through the broker, and none reports to Redis: "
            f"{one_line(', '.join(sorted(answering)))}.",
            advice="They use another EVENT_REDIS_URL or EVENT_STREAM than this command, or an older version. "
            "Give all processes the same settings and version, and restart them.",
        )
    text = f"Workers that answer through the broker: {len(answering)}."
    return ANSWERING.read(len(answering), text=text if answering else "")


@contextmanager
def _connection() -> Iterator[Connection]:
    connection = None
    try:
        try:
            connection = wakeup.connect(current_app)
            connection.default_channel  # noqa: B018 (connects)
        except (ValueError, KeyError, ImportError) as error:
            # Without the error's own text, which may quote a part of the password.
            raise ImproperlyConfigured(
                f"its URL is unusable, or a package for it is missing ({type(error).__name__}). In a user or "
                "a password, percent-encode everything but letters and digits"
            ) from None
        yield connection
    finally:
        if connection:
            # Not close(), which may wait for an answer of the broker.
            connection.collect(socket_timeout=ANSWER)


def _queues() -> list[str]:
    return sorted({registered.queue for registered in wakeup.registered.values()})


def _length(connection: Connection, queue: str) -> Reading:
    channel: Any = connection.channel()
    try:
        count = channel.queue_declare(queue=queue, passive=True).message_count
    except connection.channel_errors:  # there is none of this name: the first message makes the queue
        count = 0
    if count <= MANY:
        return MESSAGES.read(count, queue)
    return MESSAGES.read(
        count,
        queue,
        level=Level.WARNING,
        text=f"{count} messages wait in the queue {queue}.",
        advice=f"No worker takes them. Start one with -Q {queue}. The messages are only wake-ups, and may be "
        f"deleted: celery purge -Q {queue}",
    )
