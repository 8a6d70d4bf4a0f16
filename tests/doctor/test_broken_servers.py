"""A Redis, a broker or processes that are not fit or gone are named, with their mends."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.valkey import Valkey
from events_app.monitoring import redis_server
from events_app.shared import heartbeats, redis
from events_app.shared.facts import Level
from events_app.shared.heartbeats import Worker
from tests.support.brokers import UNREACHABLE
from tests.support.doctor import Line, UseBroker, examine
from tests.support.redis_users import url_without_commands
from tests.support.resp_server import array, bulk, resp_server

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

Anymail = Callable[..., None]


def with_redis(anymail: Anymail, folder: Path, **options: str) -> Line:
    """The fault of a Redis with these options."""
    options = {name.replace("_", "-"): value for name, value in options.items()}
    with Valkey(folder / "valkey", options={"maxmemory": "100mb", **options}) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        return examine().fault("Redis")


def test_without_persistence(anymail: Anymail, tmp_path: Path) -> None:
    fault = with_redis(anymail, tmp_path, appendonly="no")
    assert fault.text == "The Redis of EVENT_REDIS_URL may lose events that wait when it restarts."
    assert fault.advice == "Set appendonly yes and appendfsync always."


def test_with_lazy_persistence(anymail: Anymail, tmp_path: Path) -> None:
    fault = with_redis(anymail, tmp_path, appendfsync="no")
    assert "(appendfsync no)" in fault.text
    assert fault.advice.startswith("Set appendfsync always.")


def test_persistence_of_each_second_is_an_advice(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path, options={"appendfsync": "everysec", "maxmemory": "100mb"}) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        (line,) = (line for line in examine().lines if line.level == "advice" and line.subject == "Redis")
    assert "events of about the last second are lost (appendfsync everysec)" in line.text


def test_with_an_evicting_policy(anymail: Anymail, tmp_path: Path) -> None:
    fault = with_redis(anymail, tmp_path, maxmemory_policy="allkeys-lru")
    assert fault.text == "The Redis of EVENT_REDIS_URL deletes events that wait when its memory is full."
    assert fault.advice == "It has maxmemory-policy allkeys-lru. Set noeviction, and use no cache."


def test_a_replica(anymail: Anymail, tmp_path: Path) -> None:
    fault = with_redis(anymail, tmp_path, replicaof="127.0.0.1 1")
    assert fault == Line(
        "Redis",
        "error",
        "The Redis of EVENT_REDIS_URL is a replica, which takes no writes.",
        "Use the address of the primary, or those of the sentinels.",
    )


def test_nearly_full(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path, options={"maxmemory": "20mb"}) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        for number in range(155):
            redis.for_workers().set(f"filler-{number}", b"x" * 100_000)
        fault = examine().fault("Redis")
    assert fault.level == "warning"
    assert "At 90% posts get 503." in fault.text
    assert fault.advice.endswith("Raise maxmemory.")


def test_a_user_who_may_not_ask_for_information(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        anymail(EVENT_REDIS_URL=url_without_commands(valkey.url(0), "info"))
        run = examine()
    (line,) = (line for line in run.lines if "forbids INFO" in line.text)
    assert (line.level, "+info" in line.advice) == ("advice", True)
    assert not [line for line in run.faults() if line.subject == "Redis"]


def test_away(anymail: Anymail) -> None:
    anymail(EVENT_REDIS_URL=UNREACHABLE)
    run = examine()
    assert run.exit_code == 1
    # Once, and not again for each fact.
    (fault,) = (line for line in run.faults() if "Redis cannot be asked" in line.text)
    assert "Connection refused" in fault.text
    assert fault.advice.startswith("Start it, and look at EVENT_REDIS_URL.")
    assert {line.subject for line in run.lines} >= {"Database", "Broker", "SendGrid"}


def test_frozen(anymail: Anymail, tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        valkey.freeze()
        run = examine()
        valkey.thaw()
    assert [line.text for line in run.faults() if "Timeout" in line.text]


def test_too_old(anymail: Anymail) -> None:
    info = bulk("redis_version:6.0.16\r\naof_enabled:1\r\n")
    with resp_server({b"INFO": lambda: info}, redis.REDIS_URL.get()) as url:
        anymail(EVENT_REDIS_URL=url)
        run = examine()
        redis.for_workers().close()
    (fault,) = (line for line in run.faults() if "has version" in line.text)
    assert fault.text == "The Redis of EVENT_REDIS_URL has version 6.0.16, which lacks commands."
    assert fault.advice == "Use Redis 6.2 or newer, or Valkey."


def test_a_key_of_another_program(anymail: Anymail, stream: str) -> None:
    redis.for_workers().rpush(redis.key(), "something else")
    fault = examine().fault("Redis")
    assert fault.text == f"The key {{{stream}}} holds a list and not a stream. Every post gets 503."
    assert fault.advice == "Another program uses the key. Set EVENT_STREAM to a name of your own."


def test_a_group_of_another_program() -> None:
    redis.for_workers().xgroup_create(redis.key(), "pipeline", mkstream=True)
    assert not [line for line in examine().faults() if line.subject == "Redis"]
    redis.for_workers().xgroup_create(redis.key(), "analytics")
    fault = examine().fault("Redis")
    assert "with the consumer group analytics" in fault.text
    assert "XGROUP DESTROY" in fault.advice


def test_entries_that_no_worker_finishes(stream: str) -> None:
    server = redis.for_workers()
    server.xgroup_create(redis.key(), "pipeline", mkstream=True)
    entry = server.xadd(redis.key(), {"d": "tracking", "r": b"\x90"})
    server.xreadgroup("pipeline", "worker", {redis.key(): ">"})
    assert not [line for line in examine().faults() if line.subject == "Redis"]
    server.xclaim(redis.key(), "pipeline", "worker", 0, [entry], idle=3_600_000)
    fault = examine().fault("Redis")
    assert fault.text.startswith("A worker has read 1 entries")
    assert "queue sendgrid.events" in fault.advice


def test_a_clock_that_is_off(anymail: Anymail) -> None:
    def late() -> bytes:
        return array(str(int(time.time()) - 90), "0")

    with resp_server({b"TIME": late}, redis.REDIS_URL.get()) as url:
        anymail(EVENT_REDIS_URL=url)
        fault = examine().fault("Clocks")
        redis.for_workers().close()
    # TIME is asked within some second, by the clock that shows whole ones here.
    assert re.fullmatch(r"The clock of Redis is (89|9[01]) seconds behind this machine's\.", fault.text)
    assert "NTP" in fault.advice


def test_a_disk_that_is_full() -> None:
    """As INFO says after a failed write: no test fills a disk."""
    info = {"aof_enabled": 1, "aof_last_write_status": "err", "rdb_last_bgsave_status": "ok"}
    (fault,) = (
        reading for reading in redis_server.read_stream_info(info, "always") if reading.level > Level.ADVICE
    )
    assert "failed in the last write to its append-only file" in fault.text
    assert "full disk" in fault.advice


# --- The broker, workers and beat ---


def test_a_broker_that_is_away(use_broker: UseBroker) -> None:
    use_broker(UNREACHABLE.replace("//", "//user:a-password@"))
    run = examine()
    fault = run.fault("Broker")
    assert fault.text == "The broker of Celery cannot be asked: Connection refused."
    assert fault.advice.startswith("Start it, and look at its URL")
    assert "a-password" not in run.output


@pytest.mark.parametrize(
    "url", ["redis://:a/secret@127.0.0.1:1/0", "amqp://u:secret@[::1", "foo://u:secret@x", "redis://h/secret"]
)
def test_a_broker_with_an_unusable_url(
    use_broker: UseBroker, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    use_broker(url)
    run = examine()
    assert run.fault("Broker").text.startswith(
        "The broker of Celery cannot be asked: ImproperlyConfigured: its URL is unusable, or a package"
    )
    assert "a fault of the program" not in run.output
    assert "secret" not in run.output + caplog.text


def test_a_broker_that_is_a_replica(use_broker: UseBroker, tmp_path: Path) -> None:
    with Valkey(tmp_path, options={"replicaof": "127.0.0.1 1"}) as valkey:
        use_broker(valkey.url(0))
        texts = {line.text for line in examine().faults() if line.subject == "Broker"}
    assert "The broker of the Celery app is a replica, which takes no writes." in texts


def test_messages_that_nobody_takes(use_broker: UseBroker, tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        anywhere = valkey.url(0)
        use_broker(anywhere)
        redis.connect(redis._parse(anywhere), 5).rpush("sendgrid.retries", *["{}"] * 1001)
        fault = examine().fault("Broker")
    assert fault.text == "1001 messages wait in the queue sendgrid.retries."
    assert "Start one with -Q sendgrid.retries" in fault.advice


def test_no_worker() -> None:
    faults = {line.text: line.advice for line in examine().faults() if line.subject == "Workers"}
    mail = "No worker takes mails: queue sendgrid.mail."
    assert faults[mail] == "Start a worker with -Q sendgrid.mail. Until then this work waits."
    assert len(faults) == 6


def test_a_worker_that_uses_another_broker() -> None:
    heartbeats.record_heartbeat("1", Worker("worker@one", ("sendgrid.events",), 1))
    (fault,) = (line for line in examine().faults() if "through the broker" in line.text)
    assert fault.text == "Workers report to Redis and do not answer through the broker: worker@one."
    assert "compare CELERY_BROKER_URL" in fault.advice


def test_no_beat() -> None:
    redis.for_workers().set(redis.key("beat"), 1)
    fault = examine().fault("Backlog")
    assert fault.text.startswith("The last tick of beat's came ")
    assert fault.advice == "Is it running, with events.tick in its schedule, and a worker?"
