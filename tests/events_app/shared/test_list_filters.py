"""Filters beside the admin's lists work without a script, and refuse invalid values."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import RequestFactory
from django.utils import timezone

from events_app.models import Event
from events_app.shared.admin.list_filters import ChoiceFilter, TimeRange
from events_app.shared.admin.read_only import ReadOnly
from tests.support.events.stored_events import open_event, store_done

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOON = datetime(2026, 7, 14, 12, tzinfo=UTC)


class Received(TimeRange):
    title = "time received"

    def between(
        self, rows: "QuerySet[Any]", since: datetime | None, until: datetime | None
    ) -> "QuerySet[Any]":
        if since:
            rows = rows.filter(received_at__gte=since)
        return rows.filter(received_at__lt=until) if until else rows


class Engagement(ChoiceFilter):
    title = "engagement"
    parameter_name = "engagement"
    options = {"opened": "Somebody <opened> the mail", "clicked": "Somebody clicked a link"}  # noqa: RUF012

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(event_type=choice)


class FilteredAdmin(ReadOnly):
    search_fields = ("recipient",)
    list_filter = (Received, Engagement)


def answer(**query: str) -> Any:
    """The response with the list for a query string."""
    request = RequestFactory().get("/admin/events_app/event/", query)
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    return FilteredAdmin(Event, admin.site).changelist_view(request)


def page(**query: str) -> str:
    return str(answer(**query).render().content.decode())


def listed(**query: str) -> list[str]:
    return sorted(event.event_id for event in answer(**query).context_data["cl"].queryset)


def store_at(*times: datetime) -> None:
    """An event received at each time, with the event ids A0, A1, ..."""
    pks = store_done(*(open_event(f"A{number}") for number in range(len(times))))
    for pk, at in zip(pks, times, strict=True):
        Event.objects.filter(pk=pk).update(received_at=at)


def test_a_time_range_includes_its_start_and_excludes_its_end(database: str) -> None:
    store_at(NOON, NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    assert listed() == listed(since="", until="") == ["A0", "A1", "A2"]
    assert listed(since="2026-07-14T12:01", until="") == ["A1", "A2"]
    assert listed(since="2026-07-14T12:01:00", until="2026-07-14T12:02") == ["A1"]
    assert listed(until="2026-07-14T12:00") == []


def test_a_time_without_an_offset_is_in_the_current_time_zone(database: str) -> None:
    store_at(NOON)
    with timezone.override("Asia/Tokyo"):
        assert listed(since="2026-07-14T21:00") == listed(since="2026-07-14T12:00Z") == ["A0"]
        assert listed(since="2026-07-14T21:00:01") == []
        assert 'value="2026-07-14T21:00:00"' in page(since="2026-07-14T12:00Z")


def test_a_recent_age_is_a_choice_and_fills_the_input(database: str) -> None:
    store_at(timezone.now(), timezone.now() - timedelta(hours=2))
    assert listed(since="1h") == ["A0"]
    assert listed(since="1d") == ["A0", "A1"]
    earliest = timezone.now() - timedelta(hours=1)
    shown = page(since="1h")
    latest = timezone.now() - timedelta(hours=1)
    assert '<li class="selected">\n    <a href="?since=1h">Last hour</a>' in shown
    assert any(f'name="since" value="{at:%Y-%m-%dT%H:}' in shown for at in (earliest, latest))
    assert '<a href="?">Any time</a>' in shown


def test_the_form_keeps_the_other_filters_and_the_search(database: str) -> None:
    shown = page(since="2026-07-14T12:00", engagement="opened", q='"><script>', p="1", o="-1")
    assert '<input type="hidden" name="engagement" value="opened">' in shown
    assert '<input type="hidden" name="q" value="&quot;&gt;&lt;script&gt;">' in shown
    assert '<input type="hidden" name="o" value="-1">' in shown
    assert '<input type="hidden" name="p"' not in shown
    assert shown.count('<input type="hidden" name="since"') == 1  # in the form of the search box
    assert '<label for="time-range-since">From</label>' in shown


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"until": "2026-13-01"},
        {"since": "9999-12-31T23:59-14:00"},
        {"since": "0001-01-01T00:00+14:00"},
        {"until": "\0"},
        {"engagement": "bounced"},
        {"engagement": ""},
    ],
)
def test_an_invalid_value_leads_to_the_list_without_filters(database: str, query: dict[str, str]) -> None:
    response = answer(**query)
    assert (response.status_code, response.url) == (302, "/admin/events_app/event/?e=1")


@pytest.mark.parametrize("edge", ["0001-01-01T00:00", "9999-12-31T23:59:59"])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_the_first_and_last_times_break_no_page(database: str, edge: str, zone: str) -> None:
    store_at(NOON)
    with timezone.override(zone):
        assert answer(since=edge).status_code in (200, 302)
        assert answer(until=edge).status_code in (200, 302)


def test_a_choice_filters_the_list(database: str) -> None:
    store_done(open_event("A1"), open_event("B2", event="click"))
    assert listed(engagement="opened") == ["A1"]
    assert listed(engagement="clicked", since="2020-01-01") == ["B2"]
    shown = page(engagement="opened")
    assert f'<a href="?{urlencode({"engagement": "opened"})}">Somebody &lt;opened&gt; the mail</a>' in shown


def test_no_filter_counts_rows_for_its_choices(database: str) -> None:
    shown = page(_facets="True", engagement="opened")
    assert "(0)" not in shown
    assert "Show counts" not in shown
