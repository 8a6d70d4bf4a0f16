"""The number of suppressed addresses by reason."""

from datetime import timedelta

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from sending_app.monitoring import suppressions
from tests.support.sending.suppressed_addresses import BEGIN, suppressed

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def fresh() -> None:
    suppressions.latest.forget()


def counts() -> dict[str, object]:
    return {reading.labels[0]: reading.value for reading in suppressions.read_suppressions()}


def test_suppressions_that_hold_are_counted_by_reason_in_one_query(database: str) -> None:
    suppressed("p1@example.com")
    suppressed("p2@example.com")
    suppressed("p3@example.com", active=False)
    suppressed("p4@example.com", until=BEGIN + timedelta(days=1))
    with CaptureQueriesContext(connections[database]) as asked:
        found = counts()
        assert counts() == found
    assert found == {"bounced": 2, "invalid": 0, "spam": 0, "unsubscribed": 0, "blocked": 0}
    assert len(asked) == 1


def test_the_count_of_a_large_table_is_bounded(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppressions, "MOST", 3)
    for number in range(5):
        suppressed(f"p{number}@example.com")
    assert counts()["bounced"] == 3
