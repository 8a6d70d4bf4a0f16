"""Sends the spans of a deployment to the collector at OTEL_EXPORTER_OTLP_ENDPOINT, by OTLP over HTTP.

OpenTelemetry's SDK reads the other variables that begin with OTEL_, such as OTEL_TRACES_SAMPLER. In a host
project the spans go to the tracer provider of that project.
"""

from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

from celery.signals import worker_process_init, worker_process_shutdown, worker_ready
from django.conf import settings

from events_app.shared.log.floods import limited_logger

_stop: Callable[[], None] | None = None


def export_spans() -> None:
    """Export the spans of this process, if the settings name a collector.

    Call this after the last fork: a forked process does not have the thread that exports.
    """
    global _stop  # noqa: PLW0603 (one process, one provider)
    if _stop or not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return
    # The import takes a fifth of a second. Without a collector no process needs it.
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": settings.OTEL_SERVICE_NAME})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    url = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(url, timeout=settings.OTEL_EXPORTER_OTLP_TIMEOUT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    # While the collector is away, the exporter logs every few seconds.
    limited_logger(OTLPSpanExporter.__module__)
    # Not `atexit`, which does not run in the processes of granian: it forks them with multiprocessing.
    _stop = Finalize(None, provider.shutdown, exitpriority=0)


@worker_process_init.connect(dispatch_uid="workers.tracing.in_child")
def _in_child(**_: Any) -> None:
    """Export from a child of the pool."""
    export_spans()


@worker_ready.connect(dispatch_uid="workers.tracing.in_main_process")
def _in_main_process(sender: Any, **_: Any) -> None:
    """Export from the worker itself, if its tasks run there. Only prefork has children."""
    if type(sender.pool).__module__ != "celery.concurrency.prefork":
        export_spans()


@worker_process_shutdown.connect(dispatch_uid="workers.tracing.flush")
def _flush(**_: Any) -> None:
    """Export the last spans of a child, which ends without the functions registered for the end of Python."""
    if _stop:
        _stop()
