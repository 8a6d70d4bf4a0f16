"""One trace from the webhook's post to the receivers, over the stream, the database and retries."""

import json
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import StatusCode

from events_app import stream, tasks
from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import PendingDelivery, PendingInboundDelivery
from events_app.shared import redis
from events_app.signals import InboundSignal, ReceiverSignal
from fake_sendgrid import inbound_form
from fake_sendgrid.webhook_sender import event_batch
from tests.support.events.leases import make_due
from tests.support.events.stored_events import open_event
from tests.support.events.webhook_requests import SECRET
from tests.support.recorded_calls import Recorder
from tests.support.spans import Spans, context, recorded_spans

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ADDRESS = "ann@example.com"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as recorded:
        yield recorded


def post(*events: Any, headers: dict[str, str] = SECRET) -> int:
    body = event_batch(events)
    url = "/anymail/sendgrid/tracking/"
    answer = Client().post(url, data=body, content_type="application/json", headers=headers)
    return answer.status_code


def fields() -> list[set[bytes]]:
    """The fields of each entry in the stream."""
    entries: Any = redis.for_workers().xrange(redis.key())
    return [set(entry) for _, entry in entries]


def test_events_have_one_trace_from_the_post_to_each_receiver(
    database: str, spans: Spans, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "shop")
    Recorder(tracking, "crm")
    event = open_event("A1") | {"email": ADDRESS, "anymail_id": "our-id", "event": "delivered"}
    assert post(event, open_event("B2")) == HTTPStatus.OK
    tasks.drain()

    receivers = ["receiver shop", "receiver crm"]
    assert spans.names() == ["receive events", "store events", *receivers, *receivers]
    received, stored, shop, crm, *_ = spans.all()
    assert spans.parent_name(shop) == spans.parent_name(crm) == "store events"
    assert spans.parent_name(stored) == "receive events"
    assert received.attributes == {"messaging.system": "sendgrid", "messaging.batch.message_count": 2}
    assert shop.attributes
    assert {name: shop.attributes[name] for name in ("messaging.message.id", "sendgrid.event_type")} == {
        "messaging.message.id": "our-id",
        "sendgrid.event_type": "delivered",
    }
    assert (shop.attributes["sendgrid.attempt"], shop.attributes["sendgrid.replay"]) == (1, False)
    assert ADDRESS not in spans.texts()


def test_each_post_in_a_drain_has_its_own_trace(
    database: str, spans: Spans, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "shop")
    for name in ("A1", "B2"):
        assert post(open_event(name)) == HTTPStatus.OK
    tasks.drain()
    assert spans.names()[2:] == ["store events"] * 2 + ["receiver shop"] * 2
    assert len({context(span).trace_id for span in spans.all()}) == 2


@pytest.mark.parametrize("atomic", [False, True])
def test_a_failed_receiver_is_an_error_and_its_retry_is_in_the_same_trace(
    database: str, spans: Spans, tracking: ReceiverSignal, anymail: Callable[..., None], atomic: bool
) -> None:
    anymail(ATOMIC_DISPATCH=atomic)
    Recorder(tracking, "shop", fails=True)
    post(open_event("A1"))
    tasks.drain()
    make_due(database)
    tasks.retry_events()

    first, second = (span for span in spans.all() if span.name == "receiver shop")
    assert context(first).trace_id == context(second).trace_id
    assert [span.status.status_code for span in (first, second)] == [StatusCode.ERROR] * 2
    assert [(span.attributes or {})["sendgrid.attempt"] for span in (first, second)] == [1, 2]
    assert "the shop is closed" not in spans.texts()


def test_a_delivery_after_a_workers_death_is_in_the_same_trace(
    database: str, spans: Spans, tracking: ReceiverSignal
) -> None:
    recorder = Recorder(tracking, "shop")
    post(open_event("A1"))
    entries, _ = stream.read_entries(1, 0)
    store.store(entries, Lease())  # and the worker dies
    make_due(database)
    tasks.recover_events()
    assert [call.attempt for call in recorder.calls] == [2]
    assert spans.parent_name(spans.one("receiver shop")) == "store events"


def test_a_receivers_own_spans_are_inside(database: str, spans: Spans, tracking: ReceiverSignal) -> None:
    tracer = spans.provider.get_tracer("shop")
    Recorder(tracking, "shop", does=lambda: tracer.start_span("query").end())
    post(open_event("A1"))
    tasks.drain()
    assert spans.parent_name(spans.one("query")) == "receiver shop"


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF])
def test_a_post_that_is_not_sampled_leaves_nothing(
    database: str, tracking: ReceiverSignal, sampler: Sampler | None
) -> None:
    def fail() -> None:
        (pending,) = PendingDelivery.objects.all()
        assert pending.traceparent == ""
        raise RuntimeError

    recorder = Recorder(tracking, "shop", does=fail)
    if sampler:
        with recorded_spans(sampler) as spans:
            post(open_event("A1"))
            assert fields() == [{b"d", b"r"}]
            tasks.drain()
        assert spans.names() == []
    else:
        post(open_event("A1"))
        assert fields() == [{b"d", b"r"}]
        tasks.drain()
    assert recorder.ids == ["A1"]


def test_strangers_make_no_spans(spans: Spans) -> None:
    assert post(open_event("A1"), headers={}) == HTTPStatus.FORBIDDEN
    assert spans.names() == []


def test_the_traceparent_of_a_request_is_not_continued(database: str, spans: Spans) -> None:
    sampled = {"traceparent": "00-11111111111111111111111111111111-2222222222222222-01"}
    assert post(open_event("A1"), headers=SECRET | sampled) == HTTPStatus.OK
    assert spans.one("receive events").parent is None


def test_a_post_that_is_not_taken_is_an_error(spans: Spans, anymail: Callable[..., None]) -> None:
    anymail(EVENT_BACKLOG_LIMIT=1)
    assert post(open_event("A1"), open_event("B2")) == HTTPStatus.SERVICE_UNAVAILABLE
    assert spans.one("receive events").status.status_code is StatusCode.ERROR


def test_foreign_text_in_the_stream_is_no_trace(
    database: str, spans: Spans, tracking: ReceiverSignal
) -> None:
    recorder = Recorder(tracking, "shop")
    raw = stream.pack([json.dumps(open_event("A1")).encode()])[0]
    redis.for_workers().xadd(redis.key(), {"d": "tracking", "r": raw, "t": b"\xff" * 100})
    tasks.drain()
    assert (recorder.ids, spans.names()) == (["A1"], [])


def test_an_inbound_mail_has_one_trace_from_the_post_to_the_receiver(
    database: str, spans: Spans, inbound: InboundSignal
) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = ADDRESS, "shop@example.com", "The secret subject"
    mail.set_content("Hello")
    form = inbound_form.raw_form(mail)
    recorder = Recorder(inbound, "shop")
    answer = Client().post(
        "/anymail/sendgrid/inbound/", data=form.body(), content_type=form.content_type, headers=SECRET
    )
    assert answer.status_code == HTTPStatus.OK
    (pending,) = PendingInboundDelivery.objects.all()
    tasks.deliver_inbound()
    assert spans.names() == ["receive mail", "receiver shop"]
    shop = spans.one("receiver shop")
    assert spans.parent_name(shop) == "receive mail"
    assert (shop.attributes or {})["sendgrid.inbound_mail"] == pending.pk
    assert len(recorder.calls) == 1
    assert not any(text in spans.texts() for text in (ADDRESS, "secret subject", "shop@"))
