"""One trace from `send()` to the answer of SendGrid and the receivers, and a link from the events."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.mail import EmailMessage
from opentelemetry.trace import StatusCode
from pytest_django import Settings

from events_app import stream, tasks
from events_app.shared import tracing
from events_app.signals import ReceiverSignal
from fake_sendgrid import responses
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from sending_app import signals
from tests.support.http_server import ACCEPTED, Serve, answering
from tests.support.recorded_calls import Recorder, recorded_signals
from tests.support.sending.delivery import deliver
from tests.support.sending.django_mail import DIRECT, QUEUED, django_message, use_backend
from tests.support.sending.outbox_mails import all_parts, only_part
from tests.support.spans import Spans, context, recorded_spans

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ADDRESS = "ann@example.com"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as recorded:
        yield recorded


@pytest.fixture
def queued(settings: Settings, sendgrid: FakeSendGrid) -> None:
    use_backend(settings, QUEUED)


def send(**arguments: Any) -> str:
    """Send a mail; return its message id."""
    message: EmailMessage = django_message(**arguments)
    message.send()
    message_id: str = message.anymail_status.recipients[ADDRESS].message_id  # type: ignore[attr-defined]
    return message_id


def path(spans: Spans, name: str) -> list[str]:
    """The names of the spans above the span of this name."""
    above = spans.parent_name(spans.one(name))
    return [above, *path(spans, above)] if above else []


@pytest.mark.usefixtures("queued")
def test_a_mail_has_one_trace_from_the_caller_to_the_receivers(
    database: str, sendgrid: FakeSendGrid, spans: Spans
) -> None:
    with tracing.start("checkout", "INTERNAL", {}):
        message_id = send(subject="The secret subject")
    with recorded_signals() as recorded:
        assert deliver() == {"accepted": 1}

    assert recorded.signals == ["post_send"]
    names = ["send mail", "checkout", "POST mail/send", "receivers of post_send", "deliver mail"]
    assert spans.names() == names
    assert path(spans, "POST mail/send") == ["deliver mail", "send mail", "checkout"]
    assert path(spans, "receivers of post_send") == ["deliver mail", "send mail", "checkout"]
    for name in ("send mail", "deliver mail"):
        assert (spans.one(name).attributes or {})["messaging.message.id"] == message_id
    assert (spans.one("deliver mail").attributes or {})["sendgrid.outcome"] == "accepted"
    request = {"http.request.method": "POST", "http.response.status_code": 202}
    assert spans.one("POST mail/send").attributes == request
    assert not any(text in spans.texts() for text in (ADDRESS, "secret subject", "SG.fake"))


@pytest.mark.usefixtures("queued")
def test_a_refused_mail_is_an_error_and_so_is_a_failed_receiver(
    database: str, sendgrid: FakeSendGrid, spans: Spans
) -> None:
    def fail(**_: Any) -> None:
        raise LookupError(ADDRESS)

    send()
    sendgrid.next(responses.error(400, Fault(f"Bad {ADDRESS}", "content")))
    signals.send_failed.connect(fail)
    try:
        assert deliver() == {"failed": 1}
    finally:
        signals.send_failed.disconnect(fail)
    errors = {span.name: span.status.description for span in spans.all() if not span.status.is_unset}
    assert errors == {"POST mail/send": "RequestsAPIError", "receivers of send_failed": "LookupError"}
    assert (spans.one("deliver mail").attributes or {})["sendgrid.outcome"] == "failed"
    assert ADDRESS not in spans.texts()


def test_sendgrid_gets_no_trace(
    settings: Settings, serve: Serve, anymail: Callable[..., None], sendgrid: FakeSendGrid, spans: Spans
) -> None:
    server = serve(answering(ACCEPTED))
    anymail(SENDGRID_API_URL=server.url)
    use_backend(settings, DIRECT)
    send()
    (request,) = server.requests
    assert "traceparent" not in request.headers
    assert "POST mail/send" in spans.names()


@pytest.mark.usefixtures("queued")
def test_a_batch_has_the_first_message_ids(database: str, spans: Spans) -> None:
    to = [ADDRESS, *(f"{number}@example.com" for number in range(30))]
    message_id = send(to=to, merge_data={})
    attributes = spans.one("send mail").attributes or {}
    assert attributes["messaging.batch.message_count"] == 31
    ids = attributes["sendgrid.message_ids"]
    assert isinstance(ids, tuple)
    assert (ids[0], len(ids)) == (message_id, 20)


def test_the_direct_backend_posts_inside_the_span_of_the_mail(
    settings: Settings, sendgrid: FakeSendGrid, spans: Spans
) -> None:
    use_backend(settings, DIRECT)
    send()
    assert path(spans, "POST mail/send") == ["send mail"]
    assert spans.one("send mail").status.status_code is StatusCode.UNSET


@pytest.mark.usefixtures("queued")
def test_the_receivers_of_an_event_link_to_the_mail(
    database: str, spans: Spans, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "shop")
    message_id = send()
    event = {"event": "open", "email": ADDRESS, "anymail_id": message_id, "sg_event_id": "A1"}
    with tracing.start("receive events", "PRODUCER", {}):
        stream.append("tracking", [json.dumps(event).encode()])
    tasks.drain()
    receiver = spans.one("receiver shop")
    assert (receiver.attributes or {})["messaging.message.id"] == message_id
    (link,) = receiver.links
    assert link.context.span_id == context(spans.one("send mail")).span_id


@pytest.mark.usefixtures("queued")
def test_without_a_tracer_provider_nothing_is_kept(database: str) -> None:
    send()
    assert only_part().traceparent is None


@pytest.mark.usefixtures("queued")
def test_the_parts_of_a_refused_batch_keep_the_trace(
    database: str, sendgrid: FakeSendGrid, spans: Spans
) -> None:
    send(to=[ADDRESS, "bob@example.com"], merge_data={})
    fault = Fault("Bad address", "personalizations.1.to.0.email")
    sendgrid.next(responses.error(400, fault))
    deliver()
    assert len(all_parts()) == 2
    assert len({part.traceparent for part in all_parts()} - {None}) == 1
