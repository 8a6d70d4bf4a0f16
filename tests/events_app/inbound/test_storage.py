"""Files of posts survive a power cut, can be read again, and are listed by age."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import TemporaryUploadedFile
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from events_app.inbound import storage
from tests.support.inbound.storages import (
    FullStorage,
    keep_file,
    make_older,
    now,
    stored_files,
    use_folder,
    use_full_storage,
    use_memory,
    use_storage,
)

DAY = timedelta(days=1)


@pytest.fixture(params=["folder", "memory"])
def kept(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> None:
    """A storage with real paths, or one without."""
    if request.param == "folder":
        use_folder(settings, tmp_path)
    else:
        use_memory(settings)


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    use_folder(settings, tmp_path)
    return tmp_path


def is_older(name: str, before: datetime) -> bool:
    return name in storage.older_than(before)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("content", [b"a post", b"\x00\xff" * 100_000])
def test_a_stored_post_is_read_back_unchanged(content: bytes) -> None:
    assert storage.read_file(keep_file(content)) == content


@pytest.mark.usefixtures("kept")
def test_removing_a_file_is_idempotent() -> None:
    name = keep_file()
    storage.remove_file(name)
    storage.remove_file(name)
    with pytest.raises(FileNotFoundError):
        storage.read_file(name)


@pytest.mark.usefixtures("kept")
def test_file_names_contain_the_day_and_nothing_of_the_mail() -> None:
    one, other = keep_file(), keep_file()
    assert one != other
    day, _, file = one.partition("/")
    assert now() - datetime.fromisoformat(day).replace(tzinfo=UTC) < 2 * DAY
    assert len(file) == len("0" * 32 + ".form")


def test_a_received_file_is_renamed_and_not_copied(folder: Path) -> None:
    with TemporaryUploadedFile("post.form", None, 1, None) as spooled:
        spooled.write(b"x")
        (came_in,) = stored_files(folder)
        inode = came_in.stat().st_ino
        name = storage.save_file(spooled)
    assert (folder / name).stat().st_ino == inode
    assert stored_files(folder) == [folder / name]


def test_the_file_and_both_folders_are_fsynced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    path = folder / keep_file()
    assert synced == [each.stat().st_ino for each in (path, path.parent, folder)]


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o600), (0o640, 0o640)])
def test_file_permissions_follow_the_settings(
    settings: Settings, tmp_path: Path, mode: int | None, expected: int
) -> None:
    settings.FILE_UPLOAD_PERMISSIONS = mode
    use_folder(settings, tmp_path)
    assert stat.S_IMODE((tmp_path / keep_file()).stat().st_mode) == expected


def test_a_missing_storage_raises_an_error_with_the_setting_to_add(settings: Settings) -> None:
    settings.STORAGES = {alias: value for alias, value in settings.STORAGES.items() if alias != storage.ALIAS}
    assert not storage.is_configured()
    calls: list[Callable[[], object]] = [
        keep_file,
        lambda: storage.read_file("x"),
        lambda: is_older("x", now()),
    ]
    for call in calls:
        with pytest.raises(ImproperlyConfigured, match=r'STORAGES has no "sendgrid_inbound".*location'):
            call()


def test_a_storage_error_is_explained_without_names_and_urls(settings: Settings) -> None:
    use_full_storage(settings)
    with pytest.raises(OSError, match="No space") as raised:
        keep_file()
    assert storage.describe_error(raised.value) == "OSError: No space left on device"
    assert (
        storage.describe_error(ConnectionError("https://user:secret@storage.example.com"))
        == "ConnectionError"
    )


def test_an_unused_storage_has_no_old_files(settings: Settings, tmp_path: Path) -> None:
    use_storage(
        settings, "django.core.files.storage.FileSystemStorage", location=str(tmp_path / "not" / "yet")
    )
    assert list(storage.older_than(now())) == []


@pytest.mark.usefixtures("kept")
def test_older_than_finds_files_stored_before_the_given_time() -> None:
    before, name, after = now() - timedelta(seconds=5), keep_file(), now() + timedelta(seconds=5)
    assert not is_older(name, before)
    assert is_older(name, after)
    assert is_older(name, after + 2 * DAY)
    assert not is_older(name, before - 2 * DAY)


@pytest.mark.parametrize("use_tz", [True, False])
def test_older_than_works_in_any_time_zone_of_the_project(
    settings: Settings, folder: Path, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    name = keep_file()
    assert is_older(name, now() + timedelta(seconds=5))
    assert not is_older(name, now() - timedelta(seconds=5))


@given(st.lists(st.integers(0, 10), max_size=20), st.integers(0, 10))
def test_older_than_takes_whole_days_by_their_folder_names(days: list[int], last: int) -> None:
    class Days(FullStorage):
        def listdir(self, path: str) -> tuple[list[str], list[str]]:
            return (sorted({name(day)[:10] for day in days}), []) if not path else ([], [f"{path[-2:]}.form"])

        def get_modified_time(self, name: str) -> datetime:
            assert name[:10] == f"2026-11-{last + 10}"
            return datetime(2026, 11, last + 10, 23, tzinfo=UTC)

    def name(day: int) -> str:
        return f"2026-11-{day + 10}/{day + 10}.form"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "backend", Days)
        noon = datetime(2026, 11, last + 10, 12, tzinfo=UTC)
        found = list(storage.older_than(noon))
    assert sorted(found) == sorted({name(day) for day in days if day < last})


def test_half_received_files_are_old_by_their_modification_time(folder: Path) -> None:
    (folder / "incoming/tmpold.upload.form").write_bytes(b"half a po")
    (folder / "incoming/tmpnew.upload.form").write_bytes(b"half a po")
    make_older(folder, "incoming/tmpold.upload.form", 2 * DAY)
    assert list(storage.older_than(now() - DAY)) == ["incoming/tmpold.upload.form"]


def test_older_than_skips_a_file_that_has_just_been_removed(folder: Path) -> None:
    (folder / "incoming/gone").symlink_to("nowhere")
    assert list(storage.older_than(now() + DAY)) == []


def test_older_than_ignores_other_folders(folder: Path) -> None:
    for other in ("2026-02-30", "2026-1-01", "x2026-01-01", "20260101", "invoices"):
        (folder / other).mkdir()
        (folder / other / "file").write_bytes(b"")
    (folder / "2020-01-01").write_bytes(b"no folder")
    (folder / "2020-01-02").mkdir()
    (folder / "2020-01-02/file").write_bytes(b"")
    assert list(storage.older_than(now())) == ["2020-01-02/file"]
