"""The services of docker-compose.yml, without containers: each command and each health check as written.

PostgreSQL's command is its image's own, so another one is started here. nginx gets other ports.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import Postgres
from devstack.process import wait_for
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.flows import reverse_proxy
from tests.support.flows.compose import REQUIRED, Services, configuration
from tests.support.flows.deployment import PATIENCE

MISSING = [
    program
    for program, found in {
        "nginx": reverse_proxy.find_program(),
        "curl": shutil.which("curl"),
        "valkey-cli or redis-cli": shutil.which("valkey-cli") or shutil.which("redis-cli"),
    }.items()
    if not found
]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"this machine lacks {', '.join(MISSING)}")

WORKERS = ("worker", "inbound", "mailer", "bulk")


@pytest.fixture
def sender() -> WebhookSender:
    return WebhookSender()


@pytest.fixture
def services(tmp_path: Path, postgres: Postgres, sender: WebhookSender) -> Iterator[Services]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE pipeline LOGIN SUPERUSER")
    values = {
        **REQUIRED,
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sender.public_key,
        "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": sender.public_key,
        "INBOUND_FOLDER": str(tmp_path / "inbound"),
    }
    described = configuration(tmp_path, values)["services"]
    services = Services(tmp_path, described, postgres.programs, postgres.port)
    yield services
    services.stop()


def all_healthy(services: Services, *names: str) -> list[bool]:
    with ThreadPoolExecutor() as threads:
        return list(threads.map(services.is_healthy, names))


def all_ready(services: Services) -> bool:
    return all(" ready." in services.processes[name].output() for name in WORKERS)


def wait_until_healthy(services: Services, name: str) -> None:
    process = services.processes.get(name)
    wait_for(
        lambda: services.is_healthy(name), seconds=PATIENCE, what=f"{name} is healthy", unless_dead=process
    )


def test_each_service_becomes_healthy_and_a_broken_one_does_not_stay_so(
    services: Services, postgres: Postgres, sender: WebhookSender, tmp_path: Path
) -> None:
    assert not services.is_healthy("valkey")
    services.start("valkey")
    wait_until_healthy(services, "valkey")
    assert services.is_healthy("postgres")
    assert services.start("migrate").wait(PATIENCE) == 0
    assert not services.is_healthy("web")
    for name in ("web", *WORKERS, "beat", "flower"):
        services.start(name)
    # Before that, the check of a worker is a second of CPU in vain.
    wait_for(lambda: all_ready(services), seconds=PATIENCE, what="the workers are ready")
    for name in ("web", *WORKERS, "flower"):
        wait_until_healthy(services, name)
    (tmp_path / "proxy").mkdir()
    with reverse_proxy.running(tmp_path / "proxy", services.ports["web"]) as port:
        services.ports["proxy"] = port
        assert services.is_healthy("proxy")
        url = f"http://127.0.0.1:{port}/anymail/sendgrid/tracking/"
        assert sender.post(url, event_batch(generate_events(20)), timeout=PATIENCE).status_code == 200
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            count = "SELECT count(*) FROM events_app_event"
            wait_for(
                lambda: connection.execute(count).fetchone() == (20,), seconds=PATIENCE, what="20 events"
            )

        stuck = ("worker", "bulk")  # processes, threads
        for name in stuck:
            services.processes[name].freeze()
        for name in ("web", "flower"):
            services.processes[name].kill()
        assert not any(all_healthy(services, *stuck, "web", "flower", "proxy"))
    services.processes["valkey"].kill()
    postgres.stop()
    assert not any(all_healthy(services, "valkey", "postgres"))
    assert services.processes["beat"].alive
