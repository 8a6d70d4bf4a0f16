"""Redis as deployments have it: behind TLS, with ACLs, and with sentinels."""

import re
import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis

from devstack.stack import BIN, ROOT
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from tests.support.certificates import Authority
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import Deployment, event_ids, once_each
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.sentinels import sentinels
from tests.support.preloaded import run
from tests.support.tls_proxy import tls_proxy

SECRET = "f6c0b58d"

NOT_TRUSTED = "the certificate of Redis is not trusted"


def use(deployment: Deployment, url: str) -> None:
    """Set the URL of the stream; the default broker is beside it."""
    deployment.configure(REDIS_URL=url)
    del deployment.stack.env["CELERY_BROKER_URL"]


def check_servers(deployment: Deployment) -> str:
    done = deployment.stack.run_manage("check", "--deploy", "--database", "default")
    return done.stdout + done.stderr


@contextmanager
def set_password(deployment: Deployment, password: str) -> Iterator[None]:
    with closing(Redis(port=deployment.valkey.port)) as redis:
        redis.config_set("requirepass", password)
        yield
        redis.config_set("requirepass", "")


@on_sqlite
def test_a_failover_by_sentinels_loses_no_replicated_event(deployment: Deployment, tmp_path: Path) -> None:
    with sentinels(tmp_path) as servers:
        deployment.configure(REDIS_URL=servers.url(0), CELERY_BROKER_URL=servers.url(1))
        deployment.web()
        worker = deployment.worker()
        events = generate_events(6)
        held, waiting, late = events[0], events[1:4], events[4:]
        (held_id,) = event_ids([held])
        deployment.hold_at(held_id)
        assert deployment.post([held]) == 200
        deployment.wait_for_call(held_id)
        assert deployment.post(waiting) == 200
        servers.wait_for_replication()

        # A machine is lost: with the master, the sentinel that is asked first.
        servers.master.kill()
        next(iter(servers.sentinels.values())).kill()
        assert deployment.post(late) == 503
        deployment.let_go(held_id)
        deployment.wait_until(lambda: deployment.post(late) == 200, "posts are taken again")

        deployment.wait_until_received(stored=len(events))
        assert deployment.called() == once_each(events)
        assert worker.alive


@on_sqlite
def test_without_the_replica_that_redis_must_have_posts_are_refused(
    deployment: Deployment, tmp_path: Path
) -> None:
    """With `min-replicas-to-write`, a master without its replica takes nothing that a failover would lose."""
    master = deployment.valkey
    options = {"replicaof": f"127.0.0.1 {master.port}"}
    events = generate_events(4)
    with (
        Valkey(tmp_path / "replica", options=options) as replica,
        closing(Redis(port=master.port)) as redis,
    ):
        deployment.wait_until(lambda: redis.info("replication")["connected_slaves"] == 1, "the replica")
        redis.config_set("min-replicas-max-lag", 2)
        redis.config_set("min-replicas-to-write", 1)
        deployment.web()
        worker = deployment.worker()
        deployment.wait_until(lambda: deployment.post(events[:2]) == 200, "the first post is taken")
        deployment.wait_until_received(stored=2)

        replica.kill()
        deployment.wait_until(lambda: deployment.post(events[2:]) == 503, "posts are refused")
        replica.start()
        deployment.wait_until(lambda: deployment.post(events[2:]) == 200, "posts are taken again")

        deployment.wait_until_received(stored=4)
        assert deployment.called() == once_each(events)
        assert worker.alive


@on_sqlite
def test_stream_and_broker_verify_tls_alike(deployment: Deployment, tmp_path: Path) -> None:
    """As with many a hosted Redis: TLS of a private authority, a client certificate, a password."""
    authority = Authority(tmp_path / "authority")
    client = authority.issue("client")
    trusting = f"ssl_ca_certs={authority.certificate}"
    events = generate_events(2)
    with (
        tls_proxy(
            deployment.valkey.port, authority.issue("127.0.0.1"), clients_of=authority.certificate
        ) as port,
        set_password(deployment, "of /@#[:%? Redis"),
    ):
        url = f"valkeys://:{quote('of /@#[:%? Redis', safe='')}@127.0.0.1:{port}/0"
        use(deployment, f"{url}?{trusting}&ssl_certfile={client.certificate}&ssl_keyfile={client.key}")
        deployment.web()
        deployment.worker()
        assert deployment.post(events) == 200
        deployment.wait_until_received(stored=2)
        assert deployment.called() == once_each(events)
        assert "(events_app.W02" not in check_servers(deployment)


@on_sqlite
def test_a_certificate_that_is_not_trusted_is_named_in_each_log(
    deployment: Deployment, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    with tls_proxy(deployment.valkey.port, authority.issue("127.0.0.1")) as port:
        use(deployment, f"rediss://:{SECRET}@127.0.0.1:{port}/0")
        web, worker = deployment.web(), deployment.start_worker()
        assert deployment.post(generate_events(1)) == 503
        deployment.wait_until(lambda: NOT_TRUSTED in worker.output(), "the worker's log")
        assert f"503: not taken, send again: Redis: {NOT_TRUSTED}" in web.output()
        status = deployment.stack.run_manage("events", "status")
        assert f"Redis cannot be asked: {NOT_TRUSTED}" in status.stderr
        assert check_servers(deployment).count(f"cannot be asked: {NOT_TRUSTED}") == 2
        assert SECRET not in "".join(
            [web.output(), worker.output(), status.stderr, check_servers(deployment)]
        )


@on_sqlite
def test_the_documented_acls_suffice(deployment: Deployment) -> None:
    events = generate_events(3)
    held, failing, _ = event_ids(events)
    port = deployment.valkey.port
    deployment.configure(
        REDIS_URL=f"redis://events:{SECRET}@127.0.0.1:{port}/0",
        CELERY_BROKER_URL=f"redis://broker:{SECRET}@127.0.0.1:{port}/1",
        RECEIVER_RETRY_DELAY=1,
    )
    with closing(Redis(port=port)) as redis:
        run_command: Any = redis.execute_command
        for words in acl_commands():
            assert run_command(*(word.replace("PASSWORD", SECRET) for word in words)) == b"OK"
        deployment.web()
        worker = deployment.worker()
        deployment.call_log.order(failing, behaviours.fail, tries=1)
        deployment.hold_at(held)
        assert deployment.post(events) == 200
        deployment.wait_for_call(held)
        pong = run([str(BIN / "celery"), "-A", "workers.app", "inspect", "ping"], deployment.stack.env, ROOT)
        assert "1 node online" in pong.stdout

        worker.kill()  # another worker restores its messages, and recovers its deliveries
        deployment.let_go(held)
        deployment.worker(name="other")
        deployment.expire_leases()

        deployment.wait_until_received(stored=3)
        assert deployment.called().keys() == set(event_ids(events))
        deployment.stack.manage("events", "status")
        assert "(events_app.W02" not in check_servers(deployment)
        may_lack = ("client|setinfo", "config|get")  # as the page says
        assert [entry for entry in redis.acl_log() if entry["object"] not in may_lack] == []


def acl_commands() -> list[list[str]]:
    """The words of the documented commands, without the program."""
    text = (ROOT / "docs" / "redis.md").read_text()
    (block,) = (block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "ACL SETUSER" in block)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines]
