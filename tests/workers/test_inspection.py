"""What workers tell of themselves, for `celery inspect`, `celery report` and flower, has no password."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.control import Panel
from kombu import Connection
from kombu.utils.json import dumps

from devstack.stack import ROOT
from workers import inspection  # noqa: F401 (registers the answer)
from workers.broker import broker_settings

SECRET = "f6c0b58d"

URLS = [
    f"redis://:{SECRET}@redis.example.com/1",
    f"sentinels://:{SECRET}@a,b/1?master_name=events&sentinel_password={SECRET}&ssl_password={SECRET}",
    f"amqp://user:{SECRET}@rabbit.example.com//",
    f"amqp://user:{SECRET}@a.example.com//;amqp://user:{SECRET}@b.example.com//",
]


@pytest.mark.parametrize("url", URLS)
def test_settings(url: str) -> None:
    program = "from workers.app import app; print(app.bugreport(), app.conf.table())"
    env = os.environ | {"DJANGO_SECRET_KEY": "x", "CELERY_BROKER_URL": url}
    env |= {"DJANGO_SETTINGS_MODULE": "project.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "broker_read_url" in done.stdout, done.stderr
    assert SECRET not in done.stdout


@pytest.mark.parametrize("url", URLS)
def test_statistics(url: str) -> None:
    made = broker_settings(url)
    connection = Connection(
        made["broker_url"],
        ssl=made.get("broker_use_ssl", False),
        transport_options=made["broker_transport_options"],
    )
    broker = connection.info() | {"password": None}  # celery/worker/consumer/consumer.py, `Consumer.info`
    state: Any = SimpleNamespace()
    state.consumer = SimpleNamespace(
        controller=SimpleNamespace(stats=lambda: {"clock": "1", "broker": broker})
    )
    answer = Panel.data["stats"](state)
    assert answer["broker"]["hostname"]
    assert SECRET not in dumps(answer)  # an answer without a JSON form would be none


def test_statistics_without_a_connection() -> None:
    """While the broker is away the worker has none to tell of."""
    state: Any = SimpleNamespace()
    state.consumer = SimpleNamespace(controller=SimpleNamespace(stats=lambda: {"clock": "1"}))
    assert Panel.data["stats"](state) == {"clock": "1"}
