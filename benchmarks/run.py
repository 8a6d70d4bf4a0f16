"""`./dev bench`: ours beside the rival, on servers of their own, and whether each goal is reached."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.rows import ROWS, Row
from ground.postgres import Postgres
from ground.stack import PASSED_ON, ROOT
from ground.valkey import Valkey

#: Kept, to be compared with the next ones.
RESULTS = ROOT / "benchmarks" / "results.md"

USAGE = f"""usage: ./dev bench [ROW ...]
       ./dev bench growth [EVENTS ...]

Rows, all unless named: {", ".join(row.name for row in ROWS)}."""


@dataclass(frozen=True)
class Result:
    row: Row
    ours: list[float]
    rival: list[float]

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.rival)

    @property
    def holds(self) -> bool:
        return self.row.holds(self.ratio)


def main(argv: list[str]) -> int:
    growth = argv[:1] == ["growth"]
    rows = [row for row in ROWS if row.name in argv or not argv]
    if not growth and len(rows) != len(argv or ROWS):
        print(USAGE, file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-bench-")))
        postgres = stack.enter_context(Postgres(folder))
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        ground = f"{_machine()}, {postgres.version}, {valkey.version}"
        print(f"Measuring on {ground}.", flush=True)
        env = _environment(folder, postgres, valkey)
        if growth:
            return _run("growth", argv[1:], env).returncode
        results = [_measure(row, env) for row in rows]
    table = list(_table(results))
    print("\n" + "\n".join(table), flush=True)
    if rows == list(ROWS):
        RESULTS.write_text(_page(ground, table))
    print(json.dumps(dict(map(_as_json, results))), flush=True)
    return 0


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


def _measure(row: Row, env: dict[str, str]) -> Result:
    print(f"\n{row.what}, against {row.against}", flush=True)
    began = time.monotonic()
    done = _run(row.name, [], env, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"benchmarks.{row.name} failed with status {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    result = Result(row, found["ours"], found["rival"])
    verdict = "holds" if result.holds else "MISSED"
    print(
        f"\n  {_figure(result.ours)} against {_figure(result.rival)} {row.unit}: "
        f"{_short(result.ratio)}, goal {row.aim}, {verdict} ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return result


def _run(name: str, arguments: Sequence[str], env: dict[str, str], stdout: int | None = None) -> "_Done":
    args = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(args, env=env, cwd=ROOT, stdout=stdout, text=True, check=False)


_Done = subprocess.CompletedProcess[str]


def _table(results: Sequence[Result]) -> Iterator[str]:
    yield "| Row | What | Against | Ours | Rival | Unit | Ratio | Goal | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for result in results:
        row = result.row
        yield (
            f"| `{row.name}` | {row.what} | {row.against} | {_figure(result.ours)} | {_figure(result.rival)} "
            f"| {row.unit} | {_short(result.ratio)} | {row.aim} | {'holds' if result.holds else 'missed'} |"
        )


def _page(ground: str, table: Sequence[str]) -> str:
    lines = (
        "# Results of `./dev bench`",
        "",
        f"{ground}. Medians of several rounds, with the lowest and the highest.",
        "",
        *table,
    )
    return "\n".join(lines) + "\n"


def _as_json(result: Result) -> tuple[str, dict[str, object]]:
    return result.row.name, {
        "ours": median(result.ours),
        "rival": median(result.rival),
        "ratio": result.ratio,
        "goal": result.row.goal,
        "holds": result.holds,
    }


def _figure(rounds: Sequence[float]) -> str:
    if min(rounds) == max(rounds):
        return _short(rounds[0])
    return f"{_short(median(rounds))} ({_short(min(rounds))} to {_short(max(rounds))})"


def _short(number: float) -> str:
    """Three digits that count."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"Django {version('django')}, django-anymail {version('django-anymail')}"
    )
