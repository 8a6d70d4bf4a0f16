"""Spans of OpenTelemetry, if this process has a tracer provider. Otherwise nothing happens here.

A span travels through Redis and the database as the text of the header `traceparent` of W3C Trace Context,
and only if the span is sampled. An empty text means that there is no trace to continue.
"""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from events_app.shared.log import failures

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

#: The characters of a `traceparent`.
LENGTH = 55

Attributes: TypeAlias = Mapping[str, str | int | Sequence[str]]
#: As OpenTelemetry's `SpanKind`.
Kind: TypeAlias = Literal["CLIENT", "CONSUMER", "INTERNAL", "PRODUCER"]


class Step:
    """A step of the work: a span, or nothing."""

    def __init__(self, span: "Span | None" = None) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """The text by which other processes continue the trace. Empty without a sampled span."""
        if self._span is None:
            return ""
        context = self._span.get_span_context()
        if not context.trace_flags.sampled:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def note(self, name: str, value: str | int) -> None:
        """Set an attribute. It must hold no address, subject or key."""
        if self._span is not None:
            self._span.set_attribute(name, value)

    def fail(self, error: BaseException) -> None:
        """Record the type and the place of the exception.

        As in the log, the text and the traceback only if LOG_TRACEBACKS is on: both may contain an address.
        """
        if self._span is None or not self._span.is_recording():
            return
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 (imported by now)

        name = type(error).__name__
        file, line = failures.place(error, packages=())
        attributes: dict[str, str | int] = {"exception.type": name}
        if file:
            attributes |= {"code.file.path": file, "code.line.number": line or 0}
        if failures.LOG_TRACEBACKS.get():
            with suppress(Exception):  # of a receiver's own `__str__`
                attributes["exception.message"] = str(error)
            attributes["exception.stacktrace"] = "".join(traceback.format_exception(error))
        self._span.add_event("exception", attributes)
        self._span.set_status(StatusCode.ERROR, name)


Spanning: TypeAlias = AbstractContextManager[Step]

_NOTHING = nullcontext(Step())


def start(name: str, kind: Kind, attributes: Attributes, began: int | None = None) -> Spanning:
    """A span below the current one, or the first of a new trace. `began` is in nanoseconds of the epoch."""
    tracer = _tracer()
    return _span(tracer, name, kind, attributes, start_time=began) if tracer else _NOTHING


def child(name: str, kind: Kind, attributes: Attributes) -> Spanning:
    """A span below the current one; nothing if that is not sampled."""
    tracer = _tracer()
    return _span(tracer, name, kind, attributes) if tracer and current_traceparent() else _NOTHING


def resume(
    traceparent: str | None, name: str, kind: Kind, attributes: Attributes, link: str = ""
) -> Spanning:
    """A span below the span of another process; nothing without a `traceparent`.

    `link` is the `traceparent` of a span in another trace.
    """
    tracer = _tracer() if traceparent else None
    if not (tracer and traceparent and (context := _remote(traceparent))):
        return _NOTHING
    return _span(tracer, name, kind, attributes, context=context, links=_links(link))


def current_traceparent() -> str:
    """The `traceparent` of the current span; empty if that is not sampled."""
    if not _tracer():
        return ""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 (imported by now)

    return Step(get_current_span()).traceparent


@contextmanager
def _span(tracer: "Tracer", name: str, kind: Kind, attributes: Attributes, **options: Any) -> Iterator[Step]:
    from opentelemetry.trace import SpanKind, use_span  # noqa: PLC0415 (imported by now)

    try:
        span = tracer.start_span(name, kind=SpanKind[kind], attributes=attributes, **options)
    except Exception as error:  # noqa: BLE001 (of a sampler or processor, which the SDK lets pass)
        _report(error)
        yield Step()
        return
    step = Step(span)
    try:
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield step
    except BaseException as error:
        step.fail(error)
        raise
    finally:
        try:
            span.end()
        except Exception as error:  # noqa: BLE001 (of a processor)
            _report(error)


def _report(error: Exception) -> None:
    failures.report("A span could not be recorded", error=error)


def _links(traceparent: str) -> "list[Link]":
    from opentelemetry.trace import Link, get_current_span  # noqa: PLC0415 (imported by now)

    context = _remote(traceparent) if traceparent else None
    return [Link(get_current_span(context).get_span_context())] if context else []


def _remote(traceparent: str) -> "Context | None":
    """The context of a span of another process; None for a malformed text."""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 (imported by now)
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return context if get_current_span(context).get_span_context().is_valid else None


def _tracer() -> "Tracer | None":
    # The import takes a tenth of a second. A process that has not imported the API has no provider.
    api = sys.modules.get("opentelemetry.trace")
    return _tracer_of(api.get_tracer_provider()) if api else None


@cache
def _tracer_of(provider: "TracerProvider") -> "Tracer | None":
    from opentelemetry.trace import ProxyTracerProvider  # noqa: PLC0415 (imported by now)

    # The API's placeholder until the process sets a provider.
    return None if isinstance(provider, ProxyTracerProvider) else provider.get_tracer("sendgrid-pipeline")
