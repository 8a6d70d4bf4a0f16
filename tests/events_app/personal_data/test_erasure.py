"""An erasure leaves no trace of a person in databases, Redis and files, and changes nobody else's data."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError
from pytest_django import Settings

from events_app import stream
from events_app.decode import Unreadable
from events_app.dispatch import store
from events_app.dispatch.leases import Lease, lease_duration_ms
from events_app.inbound import store as inbound_store
from events_app.inbound.parse.post import ParsedPost
from events_app.inbound.store import parse_mail
from events_app.models import ErasedPerson, Event, InboundMail, PendingDelivery, PendingInboundDelivery
from events_app.normalize import read_event
from events_app.personal_data import erasure
from events_app.personal_data.erasure import ErasureFailed, Progress
from events_app.shared.personal_data import registry
from events_app.shared.personal_data.person import Person
from tests.support import personal_data
from tests.support.commands import output_of
from tests.support.documents import block
from tests.support.events.stored_events import stream_entries
from tests.support.inbound.mails import deliver_mails, keep_mail, sample_mail
from tests.support.inbound.storages import keep_file, stored_files, use_folder, use_full_storage

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN, JOANN = Person("ann@example.com"), Person("joann@example.com")


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="0123456789abcdef" * 4)


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    use_folder(settings, tmp_path)
    return tmp_path


def run(steps: Iterator[Progress]) -> Counter[str]:
    totals = Counter[str]()
    for step in steps:
        totals.update(step.counts)
    return totals


def test_no_trace_of_the_person_is_left(database: str, folder: Path) -> None:
    personal_data.fill("joann@example.com", database, folder)
    personal_data.fill("ann@example.com", database, folder)
    assert personal_data.hits(ANN, folder)
    before = Event.objects.using(database).count()
    expected = run(erasure.count([ANN]))
    done = run(erasure.erase([ANN]))
    assert personal_data.hits(ANN, folder) == []
    assert personal_data.hits(JOANN, folder)
    # The events in Redis were stored first, without the person in the person's own events.
    assert done.pop("events stored") == 8
    assert done["events that mention the person"] == expected["events that mention the person"] + 2
    assert expected["inbound mails"] == 6
    assert expected["files without a mail"] == 1
    assert {name for name, number in expected.items() if not number} == set()
    assert Event.objects.using(database).count() == before + 8
    again = run(erasure.erase([ANN]))
    assert again.total() == 0
    assert stream.newest_id() is None


def test_other_rows_stay_byte_for_byte(database: str, folder: Path) -> None:
    personal_data.fill_events("joann@example.com", database)
    before = {event.pk: bytes(event.raw) for event in Event.objects.using(database).all()}
    run(erasure.erase([ANN]))
    after = {event.pk: bytes(event.raw) for event in Event.objects.using(database).filter(pk__in=before)}
    assert before == after


def test_an_event_of_the_person_stays_an_event(database: str) -> None:
    personal_data.fill_events("ann@example.com", database)
    run(erasure.erase([ANN]))
    events = Event.objects.using(database).filter(recipient=ANN.pseudonym, event_type="clicked")
    assert events.count() == 2
    for event in events:
        raw, tracking = read_event(bytes(event.raw))
        assert (tracking.recipient, tracking.message_id) == (ANN.pseudonym, "mail-1")
        assert not {"ip", "useragent"} & raw.keys()


def test_a_repeat_after_the_erasure_is_a_duplicate(database: str) -> None:
    event = {"event": "open", "email": "ann@example.com", "sg_event_id": "1"}
    store.store(stream_entries(event), Lease())
    run(erasure.erase([ANN]))
    assert store.store(stream_entries(event), Lease()).duplicates == 1


def test_events_that_wait_in_redis_reach_their_receivers_through_workers(database: str) -> None:
    stream.append("tracking", [json.dumps({"event": "open", "email": "ann@example.com"}).encode()])
    run(erasure.erase([ANN]))
    assert PendingDelivery.objects.using(database).get().lease is None
    assert Event.objects.using(database).get().recipient == ANN.pseudonym


def test_the_erasure_waits_for_a_worker_that_has_events(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.append("tracking", [json.dumps({"event": "open", "email": "ann@example.com"}).encode()])
    entries, _ = stream.read_entries(10, lease_duration_ms())
    steps = erasure.erase([ANN])
    assert next(steps) == Progress("events in Redis", Counter())
    assert ErasedPerson.objects.using(database).get().pseudonym == ANN.pseudonym
    assert not Event.objects.using(database).exists()
    # The worker did not know of the erasure.
    ErasedPerson.objects.using(database).update(pseudonym="nobody")
    store.ingest(entries, Lease())
    ErasedPerson.objects.using(database).update(pseudonym=ANN.pseudonym)
    run(steps)
    assert Event.objects.using(database).get().recipient == ANN.pseudonym


def test_a_worker_that_never_finishes_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream.append("tracking", [b'{"event": "open"}'])
    stream.read_entries(10, lease_duration_ms())
    steps = erasure.erase([ANN])
    next(steps)
    monkeypatch.setattr(time, "monotonic", lambda: float("inf"))
    with pytest.raises(ErasureFailed, match="Look at the log of the workers"):
        next(steps)


def test_an_event_that_a_receiver_works_on_is_named(database: str) -> None:
    store.store(stream_entries({"event": "open", "email": "ann@example.com"}), Lease())
    steps = list(erasure.erase([ANN]))
    assert run(iter(steps))["deliveries in progress"] == 1
    assert any(step.note.startswith("Receivers are working on events of the person") for step in steps)


def test_an_erasure_without_redis_says_so(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(ErasureFailed, match="Redis does not answer"):
        run(erasure.erase([ANN]))
    assert ErasedPerson.objects.using(database).exists()


def test_an_erasure_that_is_broken_off_can_be_run_again(database: str, folder: Path) -> None:
    personal_data.fill("ann@example.com", database, folder)
    for step in erasure.erase([ANN]):
        if step.place == "inbound mails":
            break
    run(erasure.erase([ANN]))
    assert personal_data.hits(ANN, folder) == []


# Inbound mails


def test_an_erased_mail_keeps_its_key_and_loses_its_delivery(database: str, folder: Path) -> None:
    mail = sample_mail(text="From ann@example.com\n")
    first = keep_mail(mail)
    run(erasure.erase([ANN]))
    first.refresh_from_db()
    assert not PendingInboundDelivery.objects.using(database).exists()
    assert (first.subject, first.message_id, first.size, bytes(first.digest)) == ("", "", 0, b"")
    assert stored_files(folder) == []
    with pytest.raises(Unreadable, match="A person was erased"):
        parse_mail(first)
    again = keep_mail(mail)
    deliver_mails()
    again.refresh_from_db()
    assert (again.duplicate_of_id, bytes(again.key or b"")) == (first.pk, bytes(first.key or b""))


def test_a_worker_that_reads_a_mail_meanwhile_brings_nothing_back(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_mail(sample_mail(subject="About ann@example.com"))

    def parse_then_erase(mail: InboundMail) -> ParsedPost:
        reading = parse_mail(mail)
        run(erasure.erase([ANN]))
        return reading

    monkeypatch.setattr(inbound_store, "parse_mail", parse_then_erase)
    deliver_mails()
    assert personal_data.hits(ANN, folder) == []
    row = InboundMail.objects.using(database).get()
    assert row.key is not None
    assert (row.sender, row.subject) == ("", "")
    assert not PendingInboundDelivery.objects.using(database).exists()


def test_an_address_that_only_a_parser_finds_is_found(database: str) -> None:
    words = b"Subject: =?utf-8?q?Of_ann?= =?utf-8?q?=40example=2Ecom?="
    source = sample_mail().as_bytes().replace(b"Subject: A question", words)
    assert not ANN.is_in(source)
    keep_mail(message_from_bytes(source, policy=policy.default))
    assert run(erasure.count([ANN]))["inbound mails"] == 1


def test_a_young_file_without_a_mail_stays(database: str, folder: Path) -> None:
    keep_file(b"ann@example.com")
    run(erasure.erase([ANN]))
    assert len(stored_files(folder)) == 1


def test_a_failed_storage_is_an_error(database: str, settings: Settings, folder: Path) -> None:
    keep_mail(sample_mail(text="ann@example.com\n"))
    use_full_storage(settings)
    with pytest.raises(ErasureFailed, match=r"The storage of inbound mails failed \(ConnectionError\)"):
        run(erasure.erase([ANN]))


# The command


def test_the_command_counts_and_changes_nothing(database: str, folder: Path) -> None:
    personal_data.fill("ann@example.com", database, folder)
    output = output_of("erase", "Ann@Example.com")
    assert "events: 2 events of the person, 3 events that mention the person" in output
    assert output.endswith("Nothing was changed. --yes erases.\n")
    assert personal_data.hits(ANN, folder)
    assert not ErasedPerson.objects.using(database).exists()


def test_the_command_erases(database: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    personal_data.fill("ann@example.com", database, folder)
    personal_data.fill("bo@example.net", database, folder)
    output = output_of("erase", "ANN@example.com", "bo@example.net", "--yes")
    assert personal_data.hits(ANN, folder) == personal_data.hits(Person("bo@example.net"), folder) == []
    assert "inbound mails: 12 inbound mails" in output
    # Refused while the rewrite of another test runs: the processes of the tests share the server.
    assert "Redis rewrites its append-only file now" in output or "already in progress" in output
    assert f"{ANN.pseudonym.partition('@')[0]} is erased (user: None)" in caplog.messages
    assert not ANN.is_in(caplog.text)


def test_the_command_speaks_json(database: str) -> None:
    store.store(stream_entries({"event": "open", "email": "ann@example.com"}), Lease())
    report = json.loads(output_of("erase", "ann@example.com", "--json"))
    assert report["erased"] is False
    assert report["counts"]["events"] == {"events of the person": 1, "events that mention the person": 0}


@pytest.mark.parametrize("address", ["ann", "ann@", "@example.com"])
def test_the_command_refuses_what_is_no_address(database: str, address: str) -> None:
    with pytest.raises(CommandError, match="is not an address"):
        output_of("erase", address)


def test_the_command_needs_a_key(database: str, anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="")
    with pytest.raises(CommandError, match=r"PERSONAL_DATA_KEY.*is not set.*Make a key with"):
        output_of("erase", "ann@example.com")


def test_a_failed_place_is_a_command_error(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Person) -> Iterator[registry.Counts]:
        raise ErasureFailed("The shop is closed. Run the erasure again.")
        yield Counter()

    monkeypatch.setattr(registry, "places", [registry.Place("shops", fail, fail)])
    with pytest.raises(CommandError, match="The shop is closed"):
        output_of("erase", "ann@example.com", "--yes")


def test_the_documented_place_erases_rows_of_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "places", [])
    User.objects.create(username="ann", email="Ann@Example.com")
    User.objects.create(username="joann", email="joann@example.com")
    exec(block("docs/personal-data.md", "Events and inbound mail"), {"Customer": User})
    assert run(erasure.count([ANN]))["customers"] == 1
    assert run(erasure.erase([ANN]))["customers"] == 1
    assert [user.username for user in User.objects.all()] == ["joann"]
