"""Web and workers export their spans to a collector, and one trace goes through all of them."""

from collections import defaultdict
from http import HTTPStatus

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.flows.databases import on_sqlite
from tests.support.flows.mail_deployment import MailDeployment
from tests.support.http_server import HttpServer, Request, answering, response

ANN = "ann@example.com"


def exported(requests: list[Request]) -> dict[bytes, dict[str, Span]]:
    """The spans by trace and name."""
    traces: dict[bytes, dict[str, Span]] = defaultdict(dict)
    for request in requests:
        assert request.line.startswith("POST /v1/traces ")
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
            assert attributes["service.name"] == "sendgrid-pipeline"
            for scope in resource.scope_spans:
                for span in scope.spans:
                    traces[span.trace_id][span.name] = span
    return traces


@pytest.mark.quick
@on_sqlite
def test_traces_go_through_all_processes_which_export_their_last_spans(
    mail_deployment: MailDeployment,
) -> None:
    with HttpServer(answering(response(HTTPStatus.OK))) as collector:
        mail_deployment.configure(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{collector.address}",
            # Nothing is exported before the processes end.
            OTEL_BSP_SCHEDULE_DELAY=600_000,
        )
        processes = [mail_deployment.web(), mail_deployment.worker(), mail_deployment.mailer()]
        mail_deployment.call("send_traced", to=[ANN])
        mail_deployment.wait_until_received(2)  # processed and delivered, in any order
        assert mail_deployment.statuses() == {ANN: "delivered"}
        for process in processes:
            process.stop()
        assert not mail_deployment.errors()

    traces = exported(collector.requests)
    (mail,) = (trace for trace in traces.values() if "send mail" in trace)
    assert mail.keys() == {"send mail", "deliver mail", "POST mail/send", "receivers of post_send"}
    assert mail["deliver mail"].parent_span_id == mail["send mail"].span_id
    posts = [trace for trace in traces.values() if "receive events" in trace]
    assert len(posts) + 1 == len(traces)
    for post in posts:
        receivers = [span for name, span in post.items() if name.startswith("receiver ")]
        assert receivers
        assert post["store events"].parent_span_id == post["receive events"].span_id
        for span in receivers:
            assert span.parent_span_id == post["store events"].span_id
            assert [link.trace_id for link in span.links] == [mail["send mail"].trace_id]
    texts = "".join(request.body.decode("latin-1") for request in collector.requests)
    assert ANN not in texts
