"""Results of a run: as a table, as the page results.md, as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rows import Row


@dataclass(frozen=True)
class Result:
    """The figures of a row, one for each round."""

    row: Row
    ours: Sequence[float]
    rival: Sequence[float]

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.rival)

    @property
    def holds(self) -> bool:
        return self.row.holds(self.ratio)

    def __str__(self) -> str:
        return (
            f"{figure(self.ours)} against {figure(self.rival)} {self.row.unit}: "
            f"{short(self.ratio)}, goal {self.row.aim}, {'holds' if self.holds else 'MISSED'}"
        )

    def as_json(self) -> dict[str, object]:
        return {
            "ours": median(self.ours),
            "rival": median(self.rival),
            "ratio": self.ratio,
            "goal": self.row.goal,
            "holds": self.holds,
        }


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| Row | What | Against | Ours | Rival | Unit | Ratio | Goal | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for result in results:
        row = result.row
        yield (
            f"| `{row.name}` | {row.what} | {row.against} | {figure(result.ours)} | {figure(result.rival)} "
            f"| {row.unit} | {short(result.ratio)} | {row.aim} | {'holds' if result.holds else 'missed'} |"
        )


def page(machine: str, results: Sequence[Result]) -> str:
    """Return the text of results.md. `machine` describes the machine and the versions."""
    lines = (
        "# Results of `./dev bench`",
        "",
        f"{machine}. Medians of several rounds, with the lowest and the highest. Both sides keep what they",
        "answer: Valkey has each write on disk before it answers (`appendfsync always`), PostgreSQL has its",
        "own defaults (`fsync` and `synchronous_commit` on), SQLite `synchronous=FULL`.",
        "",
        *table(results),
    )
    return "\n".join(lines) + "\n"


def figure(rounds: Sequence[float]) -> str:
    """Format the median and the range of the rounds."""
    if min(rounds) == max(rounds):
        return short(rounds[0])
    return f"{short(median(rounds))} ({short(min(rounds))} to {short(max(rounds))})"


def short(number: float) -> str:
    """Format with three significant digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
