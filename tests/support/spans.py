"""The spans of a test, in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler


class Spans:
    def __init__(self, sampler: Sampler) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self) -> list[ReadableSpan]:
        """The ended spans, in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def one(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        (span,) = (span for span in self.all() if span.name == name)
        return span

    def parent_name(self, span: ReadableSpan) -> str | None:
        """The name of the span above, in the same trace."""
        if span.parent is None:
            return None
        (above,) = (other for other in self.all() if context(other).span_id == span.parent.span_id)
        assert context(above).trace_id == context(span).trace_id
        return above.name

    def texts(self) -> str:
        """All attributes and events, as a text."""
        return repr([(span.name, dict(span.attributes or {}), _events(span)) for span in self.all()])


def context(span: ReadableSpan) -> Any:
    return span.get_span_context()


@contextmanager
def recorded_spans(sampler: Sampler | None = None) -> Iterator[Spans]:
    """Give the process a tracer provider. OpenTelemetry itself lets a process set its provider only once."""
    spans = Spans(sampler or ParentBased(ALWAYS_ON))
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = spans.provider
    try:
        yield spans
    finally:
        trace._TRACER_PROVIDER = before
        spans.provider.shutdown()


def _events(span: ReadableSpan) -> list[Any]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]
