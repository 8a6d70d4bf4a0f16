"""Storages for inbound mail, and files in them."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.files.storage import InMemoryStorage
from django.core.files.uploadedfile import TemporaryUploadedFile
from pytest_django import Settings

from events_app.inbound import storage


class FullStorage(InMemoryStorage):
    """A storage that refuses writes, deletes and listings."""

    def _save(self, name: str, content: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    def delete(self, name: str) -> None:
        raise ConnectionError("https://user:secret@storage.example.com")

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        raise ConnectionError("https://user:secret@storage.example.com")


def use_storage(settings: Settings, backend: str, **options: object) -> None:
    """Keep inbound mails in this storage."""
    settings.STORAGES = {**settings.STORAGES, storage.ALIAS: {"BACKEND": backend, "OPTIONS": options}}


def use_folder(settings: Settings, folder: Path) -> None:
    """A folder, as in a deployment."""
    use_storage(settings, "django.core.files.storage.FileSystemStorage", location=str(folder))
    incoming = folder / storage.INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    settings.FILE_UPLOAD_TEMP_DIR = str(incoming)


def use_memory(settings: Settings) -> None:
    """A storage without real paths, like a remote one."""
    use_storage(settings, "django.core.files.storage.InMemoryStorage")


def use_full_storage(settings: Settings) -> None:
    use_storage(settings, f"{FullStorage.__module__}.{FullStorage.__qualname__}")


def stored_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def keep_file(content: bytes = b"a post") -> str:
    with TemporaryUploadedFile("post.form", None, len(content), None) as spooled:
        spooled.write(content)
        return storage.save_file(spooled)


def make_older(folder: Path, name: str, by: timedelta) -> None:
    """Make the file look as if it had been written earlier."""
    at = (now() - by).timestamp()
    os.utime(folder / name, (at, at))


def now() -> datetime:
    return datetime.now(UTC)
