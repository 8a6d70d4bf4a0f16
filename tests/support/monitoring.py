"""The facts that become metrics, and what has been counted."""

import sys
from types import ModuleType

from events_app.shared import counters, counting, facts
from events_app.shared.facts import Depth, Fact, FactKind, Observations, Value


def metric_facts() -> list[Fact]:
    """The facts with numbers that a scrape can show, those of the doctor alone left out."""
    modules = {source.read.__module__ for source in facts._sources.values() if source.depth <= Depth.FIGURES}
    modules |= {name for name in sys.modules if name.startswith("events_app.shared.")}
    found = {fact for name in modules for fact in _facts_in(sys.modules[name])}
    found |= {counter.fact for counter in counting.counters.values()}
    found |= {histogram.fact for histogram in counting.histograms.values()}
    return sorted((fact for fact in found if fact.kind != FactKind.TEXT), key=lambda fact: fact.name)


def _facts_in(module: ModuleType) -> list[Fact]:
    return [value for value in vars(module).values() if isinstance(value, Fact)]


def counted(name: str) -> dict[tuple[str, ...], Value]:
    """The values of a counter's or histogram's fact, by the values of its labels."""
    return {reading.labels: reading.value for reading in counters.read_all() if reading.fact.name == name}


def observed(name: str) -> dict[tuple[str, ...], int]:
    """The numbers of observations of a histogram, by the values of its labels."""
    return {
        labels: max(value.buckets.values())
        for labels, value in counted(name).items()
        if isinstance(value, Observations)
    }
