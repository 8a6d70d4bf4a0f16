"""`./dev bench`: measures our deployment beside the rival on new servers, and checks each goal."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from sqlite3 import sqlite_version

from redis import Redis

from benchmarks.results import Result, page, table
from benchmarks.rows import ROWS, Row
from devstack.postgres import Postgres
from devstack.stack import PASSED_ON, ROOT
from devstack.valkey import Valkey

#: The stored results of the last full run.
RESULTS = ROOT / "benchmarks" / "results.md"

#: Benchmarks that are no rows: `benchmarks.<name>` prints its own table.
LONG = ("growth", "retention", "latency", "hostile")

#: PostgreSQL's settings for millions of events. By default it caches 128 MB of tables and indexes and makes a
#: checkpoint each gigabyte of WAL. Then nearly every written index page goes whole into the WAL.
FOR_MILLIONS = ("shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=15min", "wal_compression=on")

USAGE = f"""usage: ./dev bench [ROW ...]
       ./dev bench growth [--keep FOLDER] [EVENTS ...]
       ./dev bench retention [SECONDS]
       ./dev bench latency [SECONDS]
       ./dev bench hostile

Rows (default: all): {", ".join(row.name for row in ROWS)}.

growth   what becomes slower with EVENTS stored events (default: 1000000), and the bytes of an event in Redis,
         in the WAL and on disk. With --keep the events stay in FOLDER, and the next run goes on with them
retention
         whether the removal of old events keeps up with SECONDS of full intake (default: 180)
latency  the time from a post to the receiver's call, at several loads, in rounds of SECONDS (default: 5)
hostile  CPU time to parse inbound mails designed to be slow, and how it grows with their size"""


def main(argv: list[str]) -> int:
    kept, argv = _kept_folder(argv)
    long = next((name for name in LONG if argv[:1] == [name]), None)
    numbers = [word.replace("_", "") for word in argv[1:]]
    rows = [row for row in ROWS if row.name in argv or not argv]
    if not all(map(str.isdecimal, numbers)) if long else len(rows) != len(argv or ROWS):
        print(USAGE, file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-bench-")))
        # Valkey and PostgreSQL write to disk before they answer.
        settings = FOR_MILLIONS if long in ("growth", "retention") else ()
        postgres = stack.enter_context(Postgres(kept or folder, durable=True, settings=settings))
        if kept and postgres.data.parent != kept:
            raise SystemExit(f"bench: PostgreSQL runs as {postgres.user}, who cannot enter {kept}.")
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        machine = f"{_machine()}, {postgres.version}, SQLite {sqlite_version}, {valkey.version}"
        print(f"Measuring on {machine}.", flush=True)
        env = _environment(folder, postgres, valkey)
        if long:
            return _run(long, long, numbers, env).returncode
        results = [_measure(row, env) for row in rows]
    print("", *table(results), sep="\n", flush=True)
    if rows == list(ROWS):
        RESULTS.write_text(page(machine, results))
    print(json.dumps({result.row.name: result.as_json() for result in results}), flush=True)
    return 0


def _kept_folder(argv: list[str]) -> tuple[Path | None, list[str]]:
    """The folder of PostgreSQL that outlives the run, and the other arguments."""
    if argv[:2] == ["growth", "--keep"] and len(argv) > 2:
        return Path(argv[2]).resolve(), ["growth", *argv[3:]]
    return None, argv


def _environment(folder: Path, postgres: Postgres, valkey: Valkey) -> dict[str, str]:
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return env | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "BENCH_FOLDER": str(folder),
        "BENCH_DATABASE_URL": postgres.url,
        "BENCH_REDIS_URL": valkey.url(0),
        "BENCH_BROKER_URL": valkey.url(1),
    }


def _measure(row: Row, env: Mapping[str, str]) -> Result:
    print(f"\n{row.what}, against {row.against}", flush=True)
    began = time.monotonic()
    database = {"BENCH_DATABASE_URL": "sqlite:"} if row.sqlite else {}
    done = _run(row.script, row.name, [], {**env, **database}, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"benchmarks.{row.script} failed with status {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    result = Result(row, found["ours"], found["rival"])
    print(f"\n  {result} ({time.monotonic() - began:.0f} s)", flush=True)
    return result


def _run(
    script: str, name: str, arguments: Sequence[str], env: Mapping[str, str], stdout: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a benchmark in its own folder, with an empty Valkey: other benchmarks leave events there."""
    folder = Path(env["BENCH_FOLDER"]) / name
    folder.mkdir()
    Redis.from_url(env["BENCH_REDIS_URL"]).flushall()
    args = [sys.executable, "-m", f"benchmarks.{script}", *arguments]
    env = {**env, "BENCH_FOLDER": str(folder)}
    return subprocess.run(args, env=env, cwd=ROOT, stdout=stdout, text=True, check=False)


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"Django {version('django')}, django-anymail {version('django-anymail')}"
    )
