"""Tags and metadata become labels of a message, at no cost for a message without labels."""

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events_app.shared.database import database_now
from sending_app import outbox, retention
from sending_app.models import Mail, MessageLabel, OutboxMessage
from tests.support.sending.outbox_mails import mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

LABELS: dict[str, Any] = {"categories": ["welcome", "may"], "custom_args": {"order": "7"}}


def labels() -> list[tuple[str, str]]:
    return list(MessageLabel.objects.order_by("pk").values_list("name", "value"))


@pytest.mark.parametrize(
    ("addresses", "batch"), [(["ann@example.com"], False), (["ann@example.com"] * 1001, True)]
)
def test_a_message_has_a_label_for_each_tag_and_each_entry_of_its_metadata(
    database: str, addresses: list[str], batch: bool
) -> None:
    message = put_in_outbox(mail(*addresses, batch=batch, **LABELS))
    assert labels() == [("", "welcome"), ("", "may"), ("order", "7")]
    assert {label.message_id for label in MessageLabel.objects.all()} == {message.pk}


def statements(database: str, **body: Any) -> int:
    with CaptureQueriesContext(connections[database]) as queries:
        put_in_outbox(mail(**body))
    return len(queries)


def test_labels_cost_one_statement_on_sqlite_and_none_on_postgresql(database: str) -> None:
    assert statements(database, **LABELS) - statements(database) == (database == "default")


def test_labels_are_few_and_short_and_may_come_from_esp_extra(database: str) -> None:
    metadata = {"long" * 99: "x" * 999, "nul\0": "\0a", "number": 7, **{f"n{n}": "" for n in range(99)}}
    put_in_outbox(mail(categories=["a", "a", 5, None], custom_args=metadata))
    first, second, third, *_ = labels()
    assert first == ("", "a")
    assert second == ("long" * 25, "x" * 255)
    assert third == ("nul", "a")
    assert len(labels()) == outbox.MOST_LABELS


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(anything, anything)
def test_any_tags_and_metadata_can_be_kept(database: str, tags: Any, metadata: Any) -> None:
    assert put_in_outbox(mail(categories=tags, custom_args=metadata)).content


def test_retention_removes_labels_with_the_content(database: str, anymail: Any) -> None:
    for _ in range(2):
        put_in_outbox(mail(**LABELS))
    finished, _ = OutboxMessage.objects.order_by("pk")
    old = database_now(database).replace(year=2020)
    OutboxMessage.objects.update(created_at=old)
    Mail.objects.filter(message=finished).update(state="accepted", finished_at=old)
    assert retention.remove_old_messages(lambda: True)
    assert len(labels()) == 3
    assert not MessageLabel.objects.filter(message=finished).exists()
    anymail(OUTBOX_RETENTION_DAYS=30)
    Mail.objects.update(state="accepted", finished_at=old)
    assert retention.remove_old_messages(lambda: True)
    assert labels() == []
