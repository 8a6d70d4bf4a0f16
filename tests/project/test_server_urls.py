"""The URLs of servers: a broken one ends every process at its start, and quotes no password."""

import os
import subprocess
import sys

import pytest

from devstack.stack import ROOT

SECRET = "f6c0b58d"

COMMANDS = {
    "check": ["manage.py", "check"],
    "web": ["-c", "import project.wsgi"],
    "worker": ["-m", "celery", "-A", "workers.app", "worker"],
}


def run(*args: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    own = {"DJANGO_SECRET_KEY": "x", "DJANGO_SETTINGS_MODULE": "project.settings"}
    env = {**os.environ, **own, **variables}
    return subprocess.run(
        [sys.executable, *args], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("REDIS_URL", f"redis://:{SECRET}/x@redis.example.com:6379/0"),
        ("CELERY_BROKER_URL", f"amqp://user:[{SECRET}@rabbit.example.com//"),
    ],
)
def test_a_broken_url_is_explained_without_its_password(command: str, name: str, url: str) -> None:
    done = run(*COMMANDS[command], **{name: url})
    assert done.returncode
    last = done.stderr.splitlines()[-1]
    assert name in last
    assert "percent-encode" in last
    assert SECRET not in done.stdout + done.stderr


def test_celery_takes_the_url_from_the_settings_and_not_from_the_environment() -> None:
    program = (
        "from workers.app import app\n"
        "for made in (app.connection_for_read(), app.connection_for_write(), app.connection()):\n"
        "    print(made.as_uri(), made.alt, made.ssl, made.transport_options['master_name'])"
    )
    done = run(
        "-c",
        program,
        CELERY_BROKER_URL="sentinels://:p%40ss@a.example.com,b.example.com/1?master_name=events",
    )
    urls = [f"sentinel://:p%40ss@{host}.example.com:26379/1" for host in "ab"]
    tls = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert done.stdout.splitlines() == [f"sentinel://:**@a.example.com:26379/1 {urls} {tls} events"] * 3
