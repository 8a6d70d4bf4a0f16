"""The seeded data: real events, and recipients as the events say."""

from collections import defaultdict
from datetime import UTC, datetime

import pytest
from django.db import connections
from django.db.models import Count, F, Sum

from devstack.seed.fill import Figures, NotEmpty, fill
from events_app.decode import dedupe_key
from events_app.models import Event, InboundMail, PendingDelivery, PendingInboundDelivery
from events_app.models import HourlyCount as HourlyEventCount
from events_app.normalize import read_event
from sending_app import timeline
from sending_app.models import HourlyCount as HourlyMailCount
from sending_app.models import Mail, OpenCircuit, OutboxMessage, Recipient, WebhookActivity
from sending_app.outbox import files_of, personalizations_of, shared_content_of
from sending_app.outcome.recipients import ENGAGEMENT_TIMES, RecipientUpdate

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOW = datetime(2026, 6, 3, 15, 20, tzinfo=UTC)

EVENTS, MAILS = 1000, 100


@pytest.fixture
def filled(database: str) -> Figures:
    return fill(events=EVENTS, mails=MAILS, now=NOW)


def test_there_are_as_many_rows_as_asked_for(filled: Figures) -> None:
    assert Mail.objects.count() == OutboxMessage.objects.count() == filled.rows["mails"] == MAILS
    assert Event.objects.count() == filled.rows["events"] == pytest.approx(EVENTS, rel=0.1)


def test_each_event_is_read_as_the_columns_say(filled: Figures) -> None:
    for row in Event.objects.all():
        fields, event = read_event(bytes(row.raw))
        assert bytes(row.key) == dedupe_key(fields)
        read = (event.event_type, event.event_id, event.message_id, event.recipient, event.timestamp)
        assert read == (row.event_type, row.event_id, row.message_id, row.recipient, row.timestamp)


def test_each_recipient_is_as_the_events_say(filled: Figures) -> None:
    updates: defaultdict[tuple[str, str], RecipientUpdate] = defaultdict(RecipientUpdate)
    for raw in Event.objects.values_list("raw", flat=True):
        _, event = read_event(bytes(raw))
        updates[event.message_id or "", event.recipient or ""].apply(event, NOW)
    recipients = Recipient.objects.filter(mail__state=Mail.State.ACCEPTED)
    for row in recipients:
        update = updates.pop((str(row.message_id), row.address), RecipientUpdate())
        expected = (*update.ranked, update.status_at, update.reject_reason, update.engagement_times)
        times = {column: getattr(row, column) for column in ENGAGEMENT_TIMES.values()}
        times = {column: at for column, at in times.items() if at}
        assert (row.status, row.rank, row.status_at, row.reject_reason, times) == expected
    assert not updates


def test_events_come_in_the_order_of_their_ids_and_before_now(filled: Figures) -> None:
    times = list(Event.objects.order_by("pk").values_list("received_at", flat=True))
    assert times == sorted(times)
    assert times[-1] < NOW


def test_mails_have_as_many_recipients_as_they_say(filled: Figures) -> None:
    counted = Mail.objects.annotate(counted=Count("recipients"))
    assert not counted.exclude(counted=F("recipient_count")).exists()
    assert counted.filter(recipient_count__gt=100, lane="bulk").exists()


def test_the_outbox_reads_the_content(filled: Figures) -> None:
    for mail in Mail.objects.exclude(personalizations=None).select_related("message"):
        ids = {personalization.id for personalization in personalizations_of(mail)}
        assert ids == {str(recipient.message_id) for recipient in mail.recipients.all()}
        assert shared_content_of(mail.message).body["subject"] == mail.message.subject
        assert mail.message.labels.filter(
            name="", value=shared_content_of(mail.message).body["categories"][0]
        )
        assert all(file.content.startswith(b"%PDF") for file in files_of(mail.message))


def test_every_trouble_is_there(filled: Figures) -> None:
    assert set(Mail.objects.values_list("state", flat=True)) == set(Mail.State.values) - {"posting"}
    assert Mail.objects.filter(sent_twice=True).exists()
    assert PendingDelivery.objects.filter(state="dead").exists()
    assert PendingDelivery.objects.filter(state="pending").exists()
    assert PendingInboundDelivery.objects.filter(state="dead").exists()


def test_the_timeline_of_ann_tells_of_her_reply(filled: Figures) -> None:
    mail = Mail.objects.get(recipients__address="ann.lee@gmail.example")
    ids = set(mail.recipients.values_list("message_id", flat=True))
    moments = [moment.what for moment in timeline.of_mail(mail, ids)]
    assert moments[:3] == ["created", "posted", "accepted"]
    assert moments[-1] == "answered"
    assert {"deferred", "delivered", "opened", "clicked"} <= set(moments)


def test_the_same_seed_makes_the_same_events(database: str) -> None:
    made = []
    for _ in range(2):
        fill(events=300, mails=40, now=NOW)
        made.append(list(Event.objects.order_by("pk").values_list("key", "raw")))
        for model in (PendingDelivery, Event, OutboxMessage, InboundMail):
            model.objects.all().delete()
        OpenCircuit.objects.all().delete()
        WebhookActivity.objects.all().delete()
    assert [(bytes(key), bytes(raw)) for key, raw in made[0]] == [
        (bytes(key), bytes(raw)) for key, raw in made[1]
    ]


def test_the_charts_have_counts(filled: Figures) -> None:
    recipients = Mail.objects.filter(state=Mail.State.ACCEPTED).aggregate(Sum("recipient_count"))
    counted = HourlyMailCount.objects.filter(name="sent").aggregate(Sum("count"))
    assert counted["count__sum"] == recipients["recipient_count__sum"]
    assert HourlyEventCount.objects.filter(label="delivered").exists()


def test_the_next_mail_has_a_free_id_and_every_index_is_back(filled: Figures, database: str) -> None:
    OutboxMessage.objects.create(created_at=NOW, alias="default")
    with connections[database].cursor() as cursor:
        there = connections[database].introspection.get_constraints(cursor, Event._meta.db_table)
    assert {index.name for index in Event._meta.indexes} <= set(there)


def test_only_an_empty_database_is_filled(filled: Figures) -> None:
    with pytest.raises(NotEmpty):
        fill(events=100, mails=20, now=NOW)
