"""Spans: of the process's provider, with no text of an exception, and of no cost without a provider."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from devstack.stack import ROOT
from events_app.shared import tracing
from tests.support.spans import Spans, context, recorded_spans

ADDRESS = "ann@example.com"


class Broken(SpanProcessor):
    """A processor of a project, which fails."""

    def __init__(self, at: str) -> None:
        self._at = at

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._at == "start":
            raise LookupError(ADDRESS)

    def on_end(self, span: ReadableSpan) -> None:
        if self._at == "end":
            raise LookupError(ADDRESS)


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as recorded:
        yield recorded


def fail() -> None:
    with pytest.raises(LookupError), tracing.start("work", "INTERNAL", {}):
        raise LookupError(ADDRESS)


def test_without_a_tracer_provider_there_is_no_span() -> None:
    with tracing.start("post", "PRODUCER", {}) as step:
        step.note("sendgrid.mail", 1)
        step.fail(LookupError())
        assert (step.traceparent, tracing.current_traceparent()) == ("", "")


def test_no_process_imports_opentelemetry_by_itself() -> None:
    code = (
        "import sys; from events_app.shared import tracing\n"
        "with tracing.start('a', 'INTERNAL', {}): pass\n"
        "print('opentelemetry.trace' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_another_process_continues_the_trace(spans: Spans) -> None:
    with tracing.start("post", "PRODUCER", {}, began=1) as post:
        assert tracing.current_traceparent() == post.traceparent
        assert len(post.traceparent) == tracing.LENGTH
    with tracing.resume(post.traceparent, "store", "CONSUMER", {"sendgrid.mail": 1}) as store:
        store.note("sendgrid.outcome", "accepted")
        with tracing.child("request", "CLIENT", {}):
            pass
    assert spans.names() == ["post", "request", "store"]
    assert spans.one("post").start_time == 1
    assert spans.parent_name(spans.one("request")) == "store"
    assert spans.parent_name(spans.one("store")) == "post"
    assert spans.one("store").attributes == {"sendgrid.mail": 1, "sendgrid.outcome": "accepted"}


def test_a_span_links_to_a_span_of_another_trace(spans: Spans) -> None:
    with tracing.start("send", "PRODUCER", {}) as send:
        pass
    with tracing.start("post", "PRODUCER", {}) as post:
        pass
    with tracing.resume(post.traceparent, "receiver", "INTERNAL", {}, link=send.traceparent):
        pass
    (link,) = spans.one("receiver").links
    assert link.context.span_id == context(spans.one("send")).span_id


@pytest.mark.parametrize("traceparent", [None, "", "00-0-0-01", "nonsense"])
def test_without_a_readable_traceparent_nothing_is_continued(spans: Spans, traceparent: str | None) -> None:
    with tracing.resume(traceparent, "store", "CONSUMER", {}), tracing.child("request", "CLIENT", {}):
        pass
    assert spans.names() == []


def test_a_span_that_is_not_sampled_does_not_travel() -> None:
    with recorded_spans(ALWAYS_OFF) as spans, tracing.start("post", "PRODUCER", {}) as post:
        assert (post.traceparent, tracing.current_traceparent()) == ("", "")
        with tracing.child("request", "CLIENT", {}) as request:
            request.fail(LookupError())
    assert spans.names() == []


def test_an_exception_is_recorded_with_its_type_and_place_alone(spans: Spans) -> None:
    fail()
    (span,) = spans.all()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "LookupError")
    (event,) = span.events
    line = fail.__code__.co_firstlineno + 2
    expected = {"exception.type": "LookupError", "code.file.path": __file__, "code.line.number": line}
    assert (event.name, event.attributes) == ("exception", expected)
    assert ADDRESS not in spans.texts()


def test_with_log_tracebacks_the_text_of_the_exception_is_recorded_too(
    spans: Spans, anymail: Callable[..., None]
) -> None:
    anymail(LOG_TRACEBACKS=True)
    fail()
    (event,) = spans.all()[0].events
    assert event.attributes
    assert event.attributes["exception.message"] == ADDRESS
    assert "test_tracing.py" in str(event.attributes["exception.stacktrace"])


@pytest.mark.parametrize("at", ["start", "end"])
def test_a_broken_processor_breaks_no_work(spans: Spans, at: str, caplog: pytest.LogCaptureFixture) -> None:
    spans.provider.add_span_processor(Broken(at))
    with tracing.start("work", "INTERNAL", {}) as step:
        step.note("sendgrid.mail", 1)
    with pytest.raises(KeyError), tracing.start("work", "INTERNAL", {}):
        raise KeyError
    assert "A span could not be recorded: LookupError" in caplog.text
    assert ADDRESS not in caplog.text


def test_an_exception_without_a_text_stays_as_it_is(spans: Spans, anymail: Callable[..., None]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError

    anymail(LOG_TRACEBACKS=True)
    with pytest.raises(Mute), tracing.start("work", "INTERNAL", {}):
        raise Mute
