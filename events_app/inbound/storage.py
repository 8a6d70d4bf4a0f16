"""The files of inbound posts, in a Django storage of their own."""

import os
import random
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage, storages
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.utils import timezone

from events_app.shared.eager import is_eager

#: The name in STORAGES. The default storage is often public, so inbound mails have their own.
ALIAS = "sendgrid_inbound"

#: The folder for posts during their upload, if FILE_UPLOAD_TEMP_DIR points to it. A killed web process leaves
#: files here; the sweep removes them like any file without a mail.
INCOMING = "incoming"

# The name of a folder: the UTC day its files were saved.
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def is_configured() -> bool:
    """Whether STORAGES has the storage of inbound mails."""
    return ALIAS in storages.backends


def backend() -> Storage:
    """The storage; raises ImproperlyConfigured with the missing setting.

    In a test run the storage is in memory: no rollback would remove a test's files from a folder or a bucket.
    """
    if is_eager():
        return _in_memory()
    if not is_configured():
        raise ImproperlyConfigured(
            f'STORAGES has no "{ALIAS}", the storage of inbound mails. Add a private storage with no other '
            f'use, such as {{"BACKEND": "django.core.files.storage.FileSystemStorage", '
            f'"OPTIONS": {{"location": "/var/lib/inbound"}}}}'
        )
    return storages[ALIAS]


@cache
def _in_memory() -> Storage:
    return InMemoryStorage()


def save_file(spooled: TemporaryUploadedFile) -> str:
    """Save a file; return its name in the storage. Raises the storage's errors."""
    storage = backend()
    spooled.flush()
    spooled.seek(0)
    name = storage.save(f"{datetime.now(UTC):%Y-%m-%d}/{uuid.uuid4().hex}.form", spooled)
    if isinstance(storage, FileSystemStorage):
        path = Path(storage.path(name))
        # The content, the file's entry in its folder, and the folder's own entry survive a power cut.
        for to_sync in (path, path.parent, path.parent.parent):
            descriptor = os.open(to_sync, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return name


def read_file(name: str) -> bytes:
    """A file's content. Raises FileNotFoundError and further errors of the storage."""
    with backend().open(name) as file:
        content: bytes = file.read()
        return content


def remove_file(name: str) -> None:
    """Remove a file if present. Raises the storage's errors."""
    backend().delete(name)


def older_than(before: datetime) -> Iterator[str]:
    """The names of files saved before this time, in random order. Raises the storage's errors."""
    storage = backend()
    last_day = before.astimezone(UTC).date()
    try:
        folders = storage.listdir("")[0]
    except FileNotFoundError:  # no file was ever saved
        return
    for folder in _shuffled([folder for folder in folders if folder == INCOMING or _day(folder)]):
        day = _day(folder)
        if day and day > last_day:
            continue
        # Our own names are printable text.
        names = [f"{folder}/{name}" for name in storage.listdir(folder)[1] if name.isprintable()]
        # Every file of an earlier day is old enough: do not ask the storage for its time.
        is_earlier = day is not None and day < last_day
        for name in _shuffled(names):
            if not is_earlier:
                try:
                    changed = storage.get_modified_time(name)
                except FileNotFoundError:  # removed in the meantime
                    continue
                if (timezone.make_aware(changed) if timezone.is_naive(changed) else changed) >= before:
                    continue
            yield name


def describe_error(error: Exception) -> str:
    """A storage's error as text without file names and account names."""
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def _day(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder) if _DAY.fullmatch(folder) else None
    except ValueError:
        return None


def _shuffled(names: list[str]) -> list[str]:
    """Shuffle, so that a sweep cut short starts elsewhere next time."""
    return random.sample(names, len(names))
