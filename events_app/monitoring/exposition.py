"""The text of the metrics for Prometheus: every fact that is a number.

Every scrape reads the numbers from Redis and the database. So every process shows the metrics of the whole
deployment.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from events_app.shared.facts import Depth, Fact, FactKind, Observations, Reading
from events_app.shared.latest import latest_readings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

#: Put before the name of a fact.
PREFIX = "sendgrid_"

#: Seconds for a source of facts. Prometheus waits ten seconds for a scrape (the default of scrape_timeout),
#: and Redis and the database may both be frozen.
PATIENCE = 3.0

latest = latest_readings(Depth.FIGURES, PATIENCE)


def metric_name(fact: Fact) -> str:
    """The name of the fact's metric. A histogram has samples with `_bucket`, `_sum` and `_count` behind."""
    return f"{PREFIX}{fact.name}"


def registry() -> "CollectorRegistry":
    """A registry of our metrics alone. Raises ImproperlyConfigured without prometheus-client."""
    try:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ImproperlyConfigured(
            'prometheus-client is not installed: pip install "django-sendgrid-pipeline[metrics]"'
        ) from None
    registry = CollectorRegistry()
    registry.register(_Collector())
    return registry


def render(accept: str = "") -> tuple[bytes, str]:
    """The metrics in a format that the `Accept` header names, and the content type.

    Raises ImproperlyConfigured without prometheus-client.
    """
    ours = registry()
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 (an extra)

    encode, content_type = choose_encoder(accept)
    return encode(ours), content_type


class _Collector:
    """Makes metrics of prometheus-client from the latest facts."""

    def collect(self) -> "Iterator[Metric]":
        by_fact: dict[Fact, list[Reading]] = {}
        for reading in latest.get():
            if reading.fact.kind != FactKind.TEXT and not isinstance(reading.value, str | None):
                by_fact.setdefault(reading.fact, []).append(reading)
        for fact in sorted(by_fact, key=lambda fact: fact.name):
            yield _metric(fact, by_fact[fact])

    def describe(self) -> "Iterable[Metric]":
        """Nothing: otherwise the registry would gather the facts to learn the names."""
        return ()


def _metric(fact: Fact, readings: Iterable[Reading]) -> "Metric":
    from prometheus_client.metrics_core import Metric  # noqa: PLC0415 (an extra)

    name = metric_name(fact)
    # The text formats want a counter's name without the end that its samples have.
    metric = Metric(name.removesuffix("_total"), f"{fact.meaning}.", fact.kind.value)
    for reading in readings:
        # A name may have what no text can hold, such as half of a surrogate pair.
        values = [value.encode(errors="replace").decode() for value in reading.labels]
        labels = dict(zip(fact.labels, values, strict=True))
        if isinstance(reading.value, Observations):
            for bound, number in reading.value.buckets.items():
                up_to = "+Inf" if bound == inf else str(float(bound))
                metric.add_sample(f"{name}_bucket", {**labels, "le": up_to}, number)
            metric.add_sample(f"{name}_count", labels, reading.value.buckets[inf])
            metric.add_sample(f"{name}_sum", labels, reading.value.total)
        elif isinstance(reading.value, int | float):
            metric.add_sample(name, labels, float(reading.value))
    return metric
