"""`events_app` in somebody else's project: its own settings, addresses and Celery app (`tests/host`)."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis, RedisError

from devstack.process import Process, free_port, wait_for
from devstack.stack import BIN, PASSED_ON, QUEUES, ROOT
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.flows.databases import connect, on_postgres, on_sqlite
from tests.support.flows.deployment import PATIENCE, Servers
from tests.support.preloaded import PreloadedProcess, run


class Host:
    def __init__(self, folder: Path, valkey: Valkey, database_url: str) -> None:
        self.folder = folder
        self.valkey = valkey
        self.database_url = database_url
        self.sender = WebhookSender()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mail/sendgrid/tracking/"
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "DJANGO_SETTINGS_MODULE": "tests.host.settings",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "HOST_DATABASE_URL": database_url,
            "HOST_REDIS_URL": valkey.url(0),
            "HOST_BROKER_URL": valkey.url(1),
            "HOST_VERIFICATION_KEY": self.sender.public_key,
        }
        self.processes: list[Process] = []

    def manage(self, *args: str) -> str:
        django = [sys.executable, "-m", "django", *args]
        done = run(django, self.env, self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def web(self) -> Process:
        web = self._start(
            "web",
            *(BIN / "granian", "--interface", "wsgi", "tests.host.wsgi:application"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--no-ws", "--backpressure", "16"),
        )
        wait_for(self._answers, seconds=PATIENCE, what="the host's web", unless_dead=web)
        return web

    def start_worker(self, *options: str) -> Process:
        """Start a worker without waiting."""
        # "celery" is the queue of the host's own tasks.
        return self._start(
            "worker",
            *(BIN / "celery", "-A", "tests.host", "worker", "--concurrency", "2"),
            *("-Q", ",".join(["celery", *QUEUES]), *options),
        )

    def worker(self) -> Process:
        worker = self.start_worker("--loglevel", "info")
        ready = lambda: " ready." in worker.output()  # noqa: E731
        wait_for(ready, seconds=PATIENCE, what="the host's worker", unless_dead=worker)
        return worker

    def beat(self) -> Process:
        return self._start("beat", BIN / "celery", "-A", "tests.host", "beat")

    def post(self, events: list[dict[str, Any]]) -> int:
        return self.sender.post(self.url, event_batch(events)).status_code

    def wait_until_heard(self, events: list[dict[str, Any]]) -> None:
        """Both receivers got each event, once."""
        expected = {(receiver, event["sg_event_id"]): 1 for event in events for receiver in ("sync", "async")}

        def settled() -> bool:
            return len(self.heard()) >= len(expected) and not self._query(
                "SELECT 1 FROM events_app_pendingdelivery"
            )

        try:
            wait_for(settled, seconds=PATIENCE, what=f"{len(events)} events at both receivers")
        except TimeoutError as late:
            logs = "\n".join(f"{process.log}\n{process.output()[-3000:]}" for process in self.processes)
            raise AssertionError(f"{late}: {len(self.heard())} calls\n{logs}") from late
        assert self.heard() == expected

    def heard(self) -> Counter[tuple[str, str]]:
        return Counter(self._query("SELECT receiver, event_id FROM shop_heard"))

    def statuses(self) -> dict[str, str]:
        return dict(self._query("SELECT address, status FROM sending_app_recipient"))

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def _start(self, name: str, *args: str | Path) -> Process:
        process = PreloadedProcess(args, log=self.folder / f"{name}.log", env=self.env, cwd=self.folder)
        self.processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            return requests.head(self.url, timeout=5).ok
        except requests.ConnectionError:
            return False

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        with connect(self.database_url) as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found


@pytest.fixture
def host(servers: Servers, tmp_path: Path) -> Iterator[Host]:
    """Migrated, and nothing of it runs yet."""
    found = Host(tmp_path, *servers)
    found.manage("migrate", "--verbosity", "0")
    yield found
    found.kill()


@pytest.mark.quick
def test_events_reach_the_receivers_of_a_host_project(host: Host) -> None:
    web, worker = host.web(), host.worker()
    events = generate_events(300)

    for at in range(0, len(events), 50):
        assert host.post(events[at : at + 50]) == 200

    host.wait_until_heard(events)
    for process in (web, worker):
        process.stop()
        assert process.wait(0) == 0, process.output()


@pytest.mark.quick
@on_sqlite
def test_a_deployment_with_the_email_backend_of_tests_still_uses_redis_and_a_worker(host: Host) -> None:
    host.env["DJANGO_SETTINGS_MODULE"] = "tests.host.locmem"
    host.web()
    events = generate_events(20)
    assert host.post(events) == 200
    with closing(Redis.from_url(host.valkey.url(0))) as redis:
        assert redis.xlen("{host:events}") == 1
    assert host.heard() == {}

    host.worker()
    host.wait_until_heard(events)


@on_sqlite
@pytest.mark.parametrize("options", [(), ("--loglevel", "info")], ids=" ".join)
def test_a_hosts_worker_names_its_receivers(host: Host, options: tuple[str, ...]) -> None:
    worker = host.start_worker(*options)
    names = "Receivers of events: tests.host.shop.receivers.write, tests.host.shop.receivers.write_async"
    wait_for(lambda: names in worker.output(), seconds=PATIENCE, what=names, unless_dead=worker)


@on_sqlite
def test_a_host_takes_over_the_log_format(host: Host, tmp_path: Path) -> None:
    """With the two examples of docs/logs.md."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "logs.md").read_text(), re.DOTALL)
    for number, example in enumerate(examples):
        (tmp_path / f"host_logging_{number}.py").write_text(example)
    host.env |= {"HOST_LOGGING": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    web = host.web()
    worker = host.start_worker()
    wait_for(lambda: " ready." in worker.output(), seconds=PATIENCE, what="ready", unless_dead=worker)
    events = generate_events(2)
    assert host.post(events) == 200
    host.wait_until_heard(events)
    requests.post(host.url, data="from ann@example.com", timeout=5)

    (refused,) = [line for line in web.output().splitlines() if line.startswith("{")]
    assert json.loads(refused)["webhook"] == "tracking"
    messages = [json.loads(line)["message"] for line in worker.output().splitlines() if line.startswith("{")]
    assert any(message.endswith(" ready.") for message in messages)
    assert not [message for message in messages if "Task events." in message]


def test_the_tick_in_the_hosts_beat_finds_events_whose_wake_up_was_lost(host: Host) -> None:
    host.web()
    events = generate_events(20)
    assert host.post(events) == 200
    with closing(Redis.from_url(host.valkey.url(1))) as broker:
        assert broker.llen("sendgrid.events") == 1
        broker.flushdb()

    host.worker()
    assert not host.heard()
    host.beat()

    host.wait_until_heard(events)


@on_postgres
def test_the_webhook_view_of_a_host_with_atomic_requests_needs_no_database(host: Host) -> None:
    host.env["HOST_DATABASE_URL"] = f"postgres://127.0.0.1:{free_port()}/none"
    host.web()
    assert host.post(generate_events(1)) == 200


def test_a_minimal_host_project_passes_the_checks(host: Host) -> None:
    said = host.manage("check", "--database", "default", "--fail-level", "WARNING")
    assert "no issues" in said
    assert "No changes" in host.manage("makemigrations", "--check", "--dry-run")


@pytest.mark.quick
def test_a_host_project_sends_mail_and_receives_its_events(host: Host) -> None:
    with FakeSendGrid(sender=host.sender, webhook_url=host.url) as sendgrid:
        host.env |= {"HOST_SENDS": "1", "HOST_SENDGRID_URL": sendgrid.url}
        host.manage("migrate", "--verbosity", "0")
        host.web()
        host.worker()
        host.manage("sendtestemail", "ann@example.com", "bounce@example.com")
        try:
            wait_for(
                lambda: host.statuses() == {"ann@example.com": "delivered", "bounce@example.com": "bounced"},
                seconds=PATIENCE,
                what="the statuses",
            )
        except TimeoutError as late:
            logs = "\n".join(process.output()[-3000:] for process in host.processes)
            raise AssertionError(f"{late}: {host.statuses()}\n{logs}") from late
        assert len(sendgrid.accepted) == 1


def test_a_minimal_host_project_that_sends_passes_the_checks(host: Host) -> None:
    host.env |= {"HOST_SENDS": "1", "HOST_SENDGRID_URL": "http://127.0.0.1:1/v3/"}
    said = host.manage("check", "--database", "default", "--fail-level", "WARNING")
    assert "no issues" in said
    assert "No changes" in host.manage("makemigrations", "--check", "--dry-run")


def test_the_tick_in_the_hosts_beat_finds_mail_whose_wake_up_was_lost(host: Host) -> None:
    with FakeSendGrid(sender=host.sender) as sendgrid:
        host.env |= {"HOST_SENDS": "1", "HOST_SENDGRID_URL": sendgrid.url}
        host.manage("migrate", "--verbosity", "0")
        host.manage("sendtestemail", "ann@example.com")
        with closing(Redis.from_url(host.valkey.url(1))) as broker:
            assert broker.llen("sendgrid.mail") == 1
            broker.flushdb()
        host.worker()
        assert not sendgrid.requests
        host.beat()
        wait_for(lambda: sendgrid.accepted, seconds=PATIENCE, what="the mail")


@on_sqlite
@pytest.mark.parametrize("by_sentinel", [False, True])
def test_a_hosts_worker_reconnects_after_its_pubsub_connections_are_cut(
    host: Host, tmp_path: Path, by_sentinel: bool
) -> None:
    options = {"retry_on_timeout": True, "master_name": "broker"}
    host.env["HOST_BROKER_OPTIONS"] = json.dumps(options)
    with closing(Redis.from_url(host.valkey.url(1))) as broker, ExitStack() as stack:
        if by_sentinel:
            host.env["HOST_BROKER_URL"] = f"{stack.enter_context(sentinel(host.valkey, tmp_path))}/1"
        host.web()
        host.worker()
        events = generate_events(2)

        for event in events:
            # Remote control, and gossip, which only a deployment of ours turns off.
            both_listen = lambda: len(broker.client_list(_type="pubsub")) >= 2  # noqa: E731
            wait_for(both_listen, seconds=PATIENCE, what="the host's worker listens")
            assert broker.client_kill_filter(_type="pubsub") >= 2
            assert host.post([event]) == 200

        host.wait_until_heard(events)


@contextmanager
def sentinel(valkey: Valkey, folder: Path) -> Iterator[str]:
    """The URL of a Sentinel that knows the server as the master "broker"."""
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"bind 127.0.0.1\nport {port}\nsentinel monitor broker 127.0.0.1 {valkey.port} 1\n"
    )
    with Process([valkey.program, configuration, "--sentinel"], log=folder / "sentinel.log", cwd=folder):
        with closing(Redis(port=port)) as server:
            wait_for(lambda: answers(server), seconds=PATIENCE, what="the Sentinel")
        yield f"sentinel://127.0.0.1:{port}"


def answers(server: Redis) -> bool:
    try:
        return bool(server.ping())
    except RedisError:
        return False
