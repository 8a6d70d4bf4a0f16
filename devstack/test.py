"""`./dev test`: runs the tests on new servers.

By default it skips the tests marked `slow` (most flows in which servers and workers fail, chaos, limits of
CPU) and makes a fifth of the examples of costly property tests. `--all` runs every test with all examples. So
does a path, `-k` or `-m` for the tests that it selects.
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from devstack.postgres import Postgres
from devstack.process import ended_with_parent
from devstack.valkey import Valkey

# Hidden from tests: a test must not use a service of the developer by mistake.
HIDDEN = ("REDIS_URL", "DATABASE_URL", "CELERY_BROKER_URL")

FAST = ("-m", "not slow", "--hypothesis-profile", "few")

# Slow tests mostly wait for processes, so more of them run at once.
ALL = ("--numprocesses", "6")


def main(argv: list[str]) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-test-")))
        env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        servers = [f"Python {platform.python_version()}", f"Django {version('django')}"]
        if env.get("TEST_DATABASE_URL"):
            servers.append(f"{place_of(env['TEST_DATABASE_URL'])} (TEST_DATABASE_URL)")
        else:
            postgres = stack.enter_context(Postgres(folder))
            servers.append(postgres.version)
            env["TEST_DATABASE_URL"] = postgres.url
        if env.get("TEST_REDIS_URL"):
            servers.append(f"{place_of(env['TEST_REDIS_URL'])} (TEST_REDIS_URL)")
        else:
            valkey = stack.enter_context(Valkey(folder / "valkey"))
            servers.append(valkey.version)
            # No database number: each pytest process uses its own database.
            env["TEST_REDIS_URL"] = f"redis://127.0.0.1:{valkey.port}"
        env["TEST_FOLDER"] = str(folder)  # for SQLite's files, which are removed with the folder
        print("Testing on " + ", ".join(servers), flush=True)
        return run([sys.executable, "-m", "pytest", *arguments(argv)], env)


def arguments(argv: list[str]) -> list[str]:
    """Return pytest's arguments: the caller's, and the selection of tests."""
    rest = [word for word in argv if word != "--all"]
    if len(rest) < len(argv):
        return [*ALL, *rest]
    names_tests = any(word in ("-k", "-m") or Path(word.partition("::")[0]).exists() for word in rest)
    return rest if names_tests else [*FAST, *rest]


def place_of(url: str) -> str:
    """Return a URL without its credentials and query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def run(args: list[str], env: dict[str, str]) -> int:
    """Run a child at our terminal, so that --pdb works and Ctrl-C reaches it; return its exit status."""
    child = subprocess.Popen(args, env=env)
    with ended_with_parent(child):
        try:
            while True:
                try:
                    return child.wait()
                except KeyboardInterrupt:
                    if not os.isatty(0):  # no terminal has sent SIGINT to it
                        child.send_signal(signal.SIGINT)
        finally:
            end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()  # does nothing if it has ended
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
