"""Storages for inbound mail, of a test's own."""

import errno
from pathlib import Path
from typing import Any

from django.core.files.storage import InMemoryStorage
from pytest_django import Settings

from events_app.inbound import storage


class Full(InMemoryStorage):
    """Takes nothing, and gives nothing away either: neither names nor files."""

    def _save(self, name: str, content: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    def delete(self, name: str) -> None:
        raise ConnectionError("https://user:secret@storage.example.com")

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        raise ConnectionError("https://user:secret@storage.example.com")


def use(settings: Settings, backend: str, **options: object) -> None:
    """Have inbound mails kept there."""
    settings.STORAGES = {**settings.STORAGES, storage.ALIAS: {"BACKEND": backend, "OPTIONS": options}}


def use_folder(settings: Settings, folder: Path) -> None:
    """As a deployment has it."""
    use(settings, "django.core.files.storage.FileSystemStorage", location=str(folder))
    incoming = folder / storage.INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    settings.FILE_UPLOAD_TEMP_DIR = str(incoming)


def use_memory(settings: Settings) -> None:
    """What has no real paths, as a storage elsewhere has none."""
    use(settings, "django.core.files.storage.InMemoryStorage")


def use_full(settings: Settings) -> None:
    use(settings, f"{Full.__module__}.{Full.__qualname__}")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
