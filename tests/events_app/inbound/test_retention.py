"""Mails and their files are removed at the end of their retention, and files that belong to no mail too."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError
from pytest_django import Settings

from events_app import tasks
from events_app.dispatch.leases import Lease
from events_app.inbound import retention, storage
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import InboundMail, PendingInboundDelivery
from events_app.shared import counters
from events_app.shared.database import database_now
from tests.support.databases import database_away
from tests.support.events.leases import out_of_budget
from tests.support.inbound.storages import (
    FullStorage,
    keep_file,
    make_older,
    stored_files,
    use_folder,
    use_full_storage,
    use_storage,
)

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path, anymail: Callable[..., None]) -> Path:
    anymail(INBOUND_RETENTION_DAYS=30)
    use_folder(settings, tmp_path)
    return tmp_path


@pytest.fixture
def slices_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE", 3)


def keep(database: str, *days: float, **fields: object) -> list[InboundMail]:
    """Keep a mail for each number of days that it has been here, in that order; nothing is pending of it."""
    now = database_now(database)
    return [
        InboundMail.objects.create(
            file=keep_file(), size=6, digest=b"", received_at=now - timedelta(days=age), **fields
        )
        for age in days
    ]


def make_pending(database: str, mail: InboundMail, **fields: object) -> None:
    PendingInboundDelivery.objects.create(mail=mail, due=database_now(database), **fields)


def prune() -> bool:
    return retention.remove_old_mails(Lease(kind=INBOUND_MAILS))


def left() -> list[int]:
    return list(InboundMail.objects.order_by("pk").values_list("pk", flat=True))


def orphan(folder: Path, *, hours: float = 25) -> str:
    """A file of a post that was not taken."""
    name = keep_file()
    day = folder / "2026-01-01"
    day.mkdir(exist_ok=True)
    moved = day / Path(name).name if hours >= 24 else folder / name
    (folder / name).rename(moved)
    return str(moved.relative_to(folder))


def test_retention_removes_old_mails_with_their_files_and_keeps_young_ones(
    database: str, folder: Path
) -> None:
    _, _, *young = keep(database, 400, 30.01, 29.99, 0)
    assert prune()
    assert left() == [mail.pk for mail in young]
    assert stored_files(folder) == sorted(folder / mail.file for mail in young)
    assert counters.read_counters() == {"inbound_pruned": 2}


def test_retention_keeps_pending_mails_until_they_are_done(database: str, folder: Path) -> None:
    _, pending = keep(database, 40, 40)
    make_pending(database, pending, failures=3)
    assert prune()
    assert left() == [pending.pk]
    assert stored_files(folder) == [folder / pending.file]
    PendingInboundDelivery.objects.all().delete()
    assert prune()
    assert (left(), stored_files(folder)) == ([], [])


def test_retention_removes_old_dead_letters_and_counts_them(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, dead, young = keep(database, 40, 40, 0)
    for mail in (dead, young):
        make_pending(database, mail, state="dead")
    assert prune()
    assert left() == [young.pk]
    assert counters.read_counters() == {"inbound_pruned": 2, "inbound_dead_letters_pruned": 1}
    assert caplog.messages == ["Removed 1 dead letters of inbound mails at the end of their retention"]


def test_the_first_post_may_be_removed_before_its_duplicate(database: str) -> None:
    (first,) = keep(database, 40)
    (repeat,) = keep(database, 20, duplicate_of=first)
    assert prune()
    repeat.refresh_from_db()
    assert (left(), repeat.duplicate_of_id) == ([repeat.pk], None)


@pytest.mark.usefixtures("slices_of_three")
@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_retention_goes_through_all_slices(database: str, folder: Path, count: int) -> None:
    keep(database, *[40] * count)
    assert prune()
    assert (left(), stored_files(folder)) == ([], [])
    assert counters.read_counters() == {"inbound_pruned": count}


@pytest.mark.usefixtures("slices_of_three")
def test_retention_stops_out_of_budget_and_the_next_run_continues(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails = keep(database, *[40] * 4)
    lost = orphan(folder)
    assert not retention.remove_old_mails(out_of_budget(Lease(kind=INBOUND_MAILS)))
    assert len(left()) == 4
    budget = iter([True, False])
    monkeypatch.setattr(Lease, "has_budget", lambda _: next(budget))
    assert not prune()
    assert left() == [mails[3].pk]
    assert set(stored_files(folder)) == {folder / mails[3].file, folder / lost}
    monkeypatch.undo()


def test_the_sweep_of_files_stops_out_of_budget(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan(folder)
    budget = iter([True, False])
    monkeypatch.setattr(Lease, "has_budget", lambda _: next(budget))
    assert prune()
    assert len(stored_files(folder)) == 1
    monkeypatch.undo()


@pytest.mark.usefixtures("slices_of_three")
def test_old_files_without_a_mail_are_swept(database: str, folder: Path) -> None:
    lost = [orphan(folder) for _ in range(7)]
    young = orphan(folder, hours=23)
    (mail,) = keep(database, 20)
    (folder / mail.file).rename(folder / "2026-01-01/kept.form")
    InboundMail.objects.update(file="2026-01-01/kept.form")
    assert prune()
    assert set(stored_files(folder)) == {folder / young, folder / "2026-01-01/kept.form"}
    assert counters.read_counters() == {"inbound_files_swept": len(lost)}


def test_half_received_files_of_a_killed_web_process_are_swept(database: str, folder: Path) -> None:
    for name in ("old", "new"):
        (folder / f"incoming/{name}.upload.form").write_bytes(b"half a po")
    make_older(folder, "incoming/old.upload.form", timedelta(hours=25))
    assert prune()
    assert stored_files(folder) == [folder / "incoming/new.upload.form"]


class Stuck(FullStorage):
    """Keeps everything, and lets nothing go."""

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return (["2026-01-01"], []) if not path else ([], ["lost.form"])


def test_a_storage_outage_is_logged_in_one_line(
    database: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    keep(database, 40)
    use_full_storage(settings)
    assert prune()
    assert left() == []
    assert (
        caplog.messages
        == [
            "Could not remove files of inbound mails (ConnectionError); the next sweep retries",
        ]
        * 2
    )
    assert "secret" not in caplog.text


def test_files_that_could_not_be_removed_are_swept_later(
    database: str, settings: Settings, folder: Path
) -> None:
    (mail,) = keep(database, 40)
    use_storage(settings, f"{Stuck.__module__}.{Stuck.__qualname__}")
    assert prune()
    assert (left(), counters.read_counters()) == ([], {"inbound_pruned": 1})
    use_folder(settings, folder)
    (folder / "2026-01-01").mkdir()
    (folder / mail.file).rename(folder / "2026-01-01/lost.form")
    assert prune()
    assert stored_files(folder) == []


def test_the_soft_time_limit_ends_retention(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise SoftTimeLimitExceeded

    keep(database, 40)
    monkeypatch.setattr(storage, "remove_file", interrupted)
    with pytest.raises(SoftTimeLimitExceeded):
        prune()


def test_with_the_database_away_retention_raises_and_removes_no_file(database: str, folder: Path) -> None:
    keep(database, 40)
    with database_away(database), pytest.raises(DatabaseError):
        prune()
    assert len(stored_files(folder)) == 1


def test_a_database_outage_while_files_are_swept_raises_and_removes_no_file(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan(folder)
    monkeypatch.setattr("events_app.dispatch.retention.remove_old_rows", lambda *_: True)
    with database_away(database), pytest.raises(DatabaseError):
        prune()
    assert len(stored_files(folder)) == 1


def test_a_crash_after_removing_the_row_leaves_its_file(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(database, 40)
    monkeypatch.setattr(storage, "remove_file", lambda name: (_ for _ in ()).throw(KeyboardInterrupt))
    with suppress(KeyboardInterrupt):
        prune()
    assert (left(), len(stored_files(folder))) == ([], 1)


def test_the_prune_task_removes_old_mails_and_files_without_a_mail(database: str, folder: Path) -> None:
    keep(database, 40)
    orphan(folder)
    tasks.prune_inbound()
    assert (left(), stored_files(folder)) == ([], [])
