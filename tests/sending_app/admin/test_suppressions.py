"""The admin pages of suppressed addresses: the list, a page, remove and add."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events_app.shared.admin import actions
from events_app.shared.database import StartsWith, database_now
from events_app.shared.personal_data.pseudonyms import pseudonym
from sending_app.admin import suppression_filters
from sending_app.models import Mail, Recipient, Suppression
from sending_app.suppression.manual import in_force
from tests.support.operators import (
    act_url,
    audit,
    choose,
    confirm,
    messages_of,
    page,
    sign_in,
    url_of,
)
from tests.support.plans import scans
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox
from tests.support.sending.suppressed_addresses import BEGIN, suppressed

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MODEL = "sending_app.suppression"
KEY = "a-key-of-personal-data-for-tests-only"


def test_the_list_says_who_why_and_since_when(database: str, client: Client) -> None:
    until = BEGIN + timedelta(days=1)
    suppressed()
    suppressed("bo@example.com", scope="group:17", reason=Suppression.Reason.UNSUBSCRIBED)
    suppressed("cy@example.com", scope="news", until=until, source=Suppression.Source.IMPORT)
    suppressed("di@example.com", active=False, source=Suppression.Source.OPERATOR)
    shown = page(client, MODEL)
    assert "4 suppressed addresses" in shown
    for words in (
        *("ann@example.com", "bounced", "all mail", "2026-01-01 00:00:00 UTC", "an event", "active"),
        *("unsubscribed", "SendGrid&#x27;s unsubscribe group 17", "news", "2026-01-02 00:00:00 UTC"),
        *("an imported file", "expired", "an operator", "ended"),
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "active"}, "ann bo"),
        ({"state": "expired"}, "cy"),
        ({"state": "ended"}, "di"),
        ({"reason": "unsubscribed"}, "bo"),
        ({"source": "operator"}, "di"),
        ({"scope": "group:17"}, "bo"),
        ({"scope": "-"}, "ann di"),
        ({"state": "active", "reason": "bounced"}, "ann"),
        ({"q": " Ann@Example.com"}, "ann"),
        ({"q": "an"}, "ann"),
        ({"q": "xample"}, ""),
    ],
)
def test_the_list_is_searched_and_filtered(
    database: str, client: Client, query: dict[str, str], found: str
) -> None:
    suppressed()
    suppressed("bo@example.com", scope="group:17", reason=Suppression.Reason.UNSUBSCRIBED)
    suppressed("cy@example.com", scope="news", until=BEGIN + timedelta(days=1))
    suppressed("di@example.com", active=False, source=Suppression.Source.OPERATOR)
    shown = page(client, MODEL, **query).partition('id="result_list"')[2]
    assert [name for name in ("ann", "bo", "cy", "di") if f"{name}@example.com" in shown] == found.split()


def test_only_some_scopes_are_choices_and_the_chosen_one_is_among_them(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression_filters, "MOST_SCOPES", 1)
    for scope in ("news", "offers", "-"):
        suppressed(scope=scope)
    shown = page(client, MODEL)
    assert "?scope=news" in shown
    assert "?scope=offers" not in shown
    shown = page(client, MODEL, scope="offers")
    assert "1 suppressed address" in shown


def test_without_the_permission_addresses_are_masked_and_only_whole_ones_are_found(
    database: str, client: Client
) -> None:
    pk = suppressed()
    sign_in(client, "sending_app.view_suppression", "sending_app.view_mail")
    for shown in (page(client, MODEL), page(client, MODEL, pk)):
        assert "a…@example.com" in shown
        assert "ann@" not in shown
    assert "1 suppressed address" in page(client, MODEL, q="ann@example.com")
    assert "0 suppressed addresses" in page(client, MODEL, q="ann")
    assert client.get(url_of(MODEL), {"address__startswith": "a"}).status_code == 400


@pytest.mark.parametrize("view", ["changelist", "change", "add", "act"])
def test_the_pages_require_their_permissions(database: str, client: Client, view: str) -> None:
    pk = suppressed()
    urls = {
        "changelist": url_of(MODEL),
        "change": url_of(MODEL, pk),
        "add": url_of(MODEL, None, "add"),
        "act": act_url(MODEL, "remove", pk),
    }
    sees = {"changelist": "view_suppression", "change": "view_suppression", "add": "act_on_suppressions"}
    sign_in(client, "sending_app.view_recipient", "sending_app.act", name="other")
    assert client.get(urls[view]).status_code == 403
    sign_in(client, f"sending_app.{sees.get(view, 'act_on_suppressions')}", "sending_app.view_suppression")
    assert client.get(urls[view]).status_code == 200


@pytest.mark.parametrize("view", ["change", "delete"])
def test_no_page_changes_a_row_by_itself(database: str, client: Client, view: str) -> None:
    pk = suppressed()
    assert client.post(url_of(MODEL, pk, view), {"active": "", "post": "yes"}).status_code == 403
    assert Suppression.objects.get().active


def test_the_page_leads_to_the_event_and_to_the_mails(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com"))
    rejected = only_part().pk
    Recipient.objects.update(status="rejected", reject_reason="bounced", status_at=BEGIN)
    put_in_outbox(mail("ann@example.com"))
    put_in_outbox(mail("bo@example.com"))
    pk = suppressed()
    shown = page(client, MODEL, pk)
    assert f'href="{url_of("events_app.event")}?q=event-1"' in shown
    assert (
        f'href="{url_of("sending_app.mail", rejected)}"' in shown.partition("did not go to this address")[2]
    )
    assert f'href="{url_of("sending_app.mail")}?suppression={pk}"' in shown
    assert "2 mails" in page(client, "sending_app.mail", suppression=pk)
    assert "1 mail" in page(client, "sending_app.mail", suppression=pk, outcome="rejected")
    assert "0 mails" in page(client, "sending_app.mail", suppression=pk + 1)


def test_no_page_shows_a_strangers_markup_or_a_character_that_reorders_the_text(
    database: str, client: Client
) -> None:
    hostile = "<b>x\u202e"
    pk = suppressed(f"{hostile}@example.com", scope=hostile, event_id=hostile)
    put_in_outbox()
    Recipient.objects.update(address=f"{hostile}@example.com")
    for shown in (
        page(client, MODEL),
        page(client, MODEL, pk),
        page(client, "sending_app.recipient", Recipient.objects.get().pk),
        page(client, "sending_app.mail", Mail.objects.get().pk),
    ):
        assert "&lt;b&gt;x\\u202e" in shown
        assert "<b>x" not in shown
        assert "\u202e" not in shown


@pytest.mark.parametrize("is_on", [True, False])
def test_the_page_says_whether_the_setting_is_on(
    database: str, client: Client, anymail: Callable[..., None], is_on: bool
) -> None:
    anymail(SUPPRESSION=is_on)
    shown = page(client, MODEL, suppressed())
    assert ("SUPPRESSION is off" in shown) == (not is_on)
    assert ("SUPPRESSION is off" in client.get(url_of(MODEL, None, "add")).content.decode()) == (not is_on)


def test_an_operator_removes_a_suppression_after_a_confirmation(database: str, client: Client) -> None:
    sign_in(client, "sending_app.view_suppression", "sending_app.act_on_suppressions", name="ann")
    pk = suppressed()
    url = act_url(MODEL, "remove", pk)
    assert f'href="{url}"' in page(client, MODEL, pk)
    preview = client.get(url)
    assert "This would remove 1 of 1 suppression." in preview.content.decode()
    assert "manage.py suppressions sync --push --apply" in preview.content.decode()
    assert Suppression.objects.get().active
    (words,) = messages_of(confirm(client, preview, url))
    assert words.startswith("Removed 1 of 1 suppression.")
    row = Suppression.objects.get()
    assert (row.active, row.source) == (False, "operator")
    assert audit() == [("ann", f"suppression {pk}", "Suppression removed.")]
    assert "Remove" not in page(client, MODEL, pk).partition("page-tools")[2].partition("</ul>")[0]


def test_an_operator_removes_the_suppressions_of_a_list(database: str, client: Client) -> None:
    pks = [suppressed(f"p{number}@example.com") for number in range(3)]
    suppressed("bo@example.com", active=False)
    preview = choose(client, url_of(MODEL), "remove", pks, across=True)
    shown = preview.content.decode()
    assert "This would remove 3 of 4 suppressions." in shown
    assert "1 left alone: ended already." in shown
    assert "<td>bounced</td><td>all mail</td>" in shown
    confirm(client, preview, url_of(MODEL))
    assert not Suppression.objects.filter(active=True).exists()
    assert LogEntry.objects.count() == 3


def test_a_list_that_is_too_long_is_not_removed(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MOST", 2)
    pks = [suppressed(f"p{number}@example.com") for number in range(3)]
    shown = choose(client, url_of(MODEL), "remove", pks, across=True).content.decode()
    assert "More than 2 rows are in this list" in shown
    assert "Or run this command" not in shown
    assert Suppression.objects.filter(active=True).count() == 3


def add(client: Client, **fields: str) -> Any:
    fields = {"address": "Ann@Example.com", "reason": "blocked", "scope": "", "until": "", **fields}
    return client.post(url_of(MODEL, None, "add"), fields, follow=True)


def test_an_operator_suppresses_an_address(database: str, client: Client) -> None:
    sign_in(client, "sending_app.view_suppression", "sending_app.act_on_suppressions", name="ann")
    assert url_of(MODEL, None, "add") in page(client, MODEL)
    until = (database_now(database) + timedelta(days=2)).replace(microsecond=0)
    answer = add(client, scope="news", until=f"{until:%Y-%m-%dT%H:%M:%S}")
    assert messages_of(answer) == ["The address is suppressed."]
    row = Suppression.objects.get()
    assert (row.address, row.reason, row.scope, row.source) == (
        *("ann@example.com", "blocked", "news", "operator"),
    )
    assert row.until == until
    assert audit() == [("ann", f"suppression {row.pk}", "Suppressed.")]


def test_who_may_only_add_stays_on_the_page(database: str, client: Client) -> None:
    sign_in(client, "sending_app.act_on_suppressions")
    answer = add(client)
    assert answer.status_code == 200
    assert messages_of(answer) == ["The address is suppressed."]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"address": "ann"}, "Invalid address"),
        ({"address": ""}, "This field is required."),
        ({"address": "a@example.com, b@example.com"}, "Write one address"),
        ({"reason": "angry"}, "Select a valid choice."),
        ({"scope": "group:news"}, "the number of an unsubscribe group at SendGrid"),
        ({"until": "2001-01-01T00:00"}, "The end must lie in the future."),
        ({"until": "soon"}, "Enter a valid date/time."),
    ],
)
def test_a_wrong_field_is_told_beside_the_field(
    database: str, client: Client, fields: dict[str, str], words: str
) -> None:
    answer = add(client, **fields)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Suppression.objects.exists()


def test_an_ended_suppression_is_added_again(database: str, client: Client) -> None:
    pk = suppressed(active=False, reason=Suppression.Reason.BLOCKED)
    add(client)
    row = Suppression.objects.get()
    assert (row.pk, row.active) == (pk, True)


@pytest.mark.parametrize("query", [{}, {"q": "p"}, {"reason": "bounced", "scope": "-", "state": "active"}])
def test_a_list_needs_a_constant_number_of_queries(
    database: str, client: Client, query: dict[str, str]
) -> None:
    counts = []
    for more in (1, 20):
        for number in range(more):
            suppressed(f"p{more}-{number}@example.com")
        with CaptureQueriesContext(connections[database]) as asked:
            page(client, MODEL, **query)
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 12


def test_an_index_serves_searches_and_looks_at_an_address(database: str) -> None:
    rows = Suppression.objects.all()
    for found in (
        rows.filter(StartsWith("address", "ann@")),
        rows.filter(in_force(database), address__in=["ann@example.com", "bo@example.com"]),
        rows.filter(active=False).order_by("-pk"),
    ):
        assert not scans(found)


def test_pages_of_mails_and_recipients_say_that_an_address_is_suppressed_now(
    database: str, client: Client
) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", "cy@example.com"))
    recipients = {row.address.partition("@")[0]: row for row in Recipient.objects.all()}
    pk = suppressed()
    suppressed("bo@example.com", active=False)
    suppressed("cy@example.com", until=BEGIN)
    link = f'<a href="{url_of(MODEL, pk)}">bounced (all mail)</a>'
    shown = page(client, "sending_app.mail", recipients["ann"].mail_id)
    assert shown.count(link) == shown.count("suppressed now") == 1
    assert link in page(client, "sending_app.recipient", recipients["ann"].pk)
    assert "Suppressed now" not in page(client, "sending_app.recipient", recipients["bo"].pk)
    sign_in(client, "sending_app.view_recipient")
    shown = page(client, "sending_app.recipient", recipients["ann"].pk)
    assert "<dd>bounced (all mail)</dd>" in shown


def test_one_query_asks_for_the_suppressions_of_a_mail(database: str, client: Client) -> None:
    put_in_outbox(mail(*(f"p{number}@example.com" for number in range(30))))
    suppressed("p3@example.com")
    with CaptureQueriesContext(connections[database]) as asked:
        page(client, "sending_app.mail", Mail.objects.get().pk)
    assert len([query for query in asked if "sending_app_suppression" in query["sql"]]) == 1


def test_the_suppression_of_an_erased_person_who_came_back_is_shown(
    database: str, client: Client, anymail: Callable[..., None]
) -> None:
    anymail(PERSONAL_DATA_KEY=KEY)
    pk = suppressed(pseudonym("ann@example.com"))
    put_in_outbox(mail("ann@example.com"))
    assert url_of(MODEL, pk) in page(client, "sending_app.recipient", Recipient.objects.get().pk)
    assert "erased: the pseudonym stands for the address" in page(client, MODEL, pk)


def test_a_rejected_recipient_has_the_reason_beside_the_status(database: str, client: Client) -> None:
    put_in_outbox()
    Recipient.objects.update(status="rejected", reject_reason="bounced", status_at=BEGIN)
    assert ">rejected: bounced</span>" in page(client, "sending_app.recipient")
    Recipient.objects.update(status="bounced")
    assert ">bounced</span>" in page(client, "sending_app.recipient")
