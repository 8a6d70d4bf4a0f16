"""The files of inbound posts, in the Django storage that the settings have for them and nothing else."""

import os
import random
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.utils import timezone

#: The name in STORAGES. Not the default one: what is in there is often shown to the world.
ALIAS = "sendgrid_inbound"

#: Where posts are while they come in, if FILE_UPLOAD_TEMP_DIR is this folder of the storage. What a web
#: process that was killed has left there is as much a file without a mail as any other.
INCOMING = "incoming"

# The UTC day on which the files in it were kept.
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def is_configured() -> bool:
    """Whether the settings have such a storage."""
    return ALIAS in storages.backends


def backend() -> Storage:
    """Raises ImproperlyConfigured, saying what to put into the settings."""
    if not is_configured():
        raise ImproperlyConfigured(
            f'STORAGES has no "{ALIAS}", where inbound mails are kept. Put one there that the world cannot '
            f'read and that nobody else uses, such as {{"BACKEND": '
            f'"django.core.files.storage.FileSystemStorage", "OPTIONS": {{"location": "/var/lib/inbound"}}}}'
        )
    return storages[ALIAS]


def save(spooled: TemporaryUploadedFile) -> str:
    """Put a file in; answer its name there. Raises what the storage raises."""
    storage = backend()
    spooled.flush()
    spooled.seek(0)
    name = storage.save(f"{datetime.now(UTC):%Y-%m-%d}/{uuid.uuid4().hex}.form", spooled)
    if isinstance(storage, FileSystemStorage):
        _sync(Path(storage.path(name)))
    return name


def read(name: str) -> bytes:
    """All of a file. Raises FileNotFoundError, or whatever else the storage raises."""
    with backend().open(name) as file:
        content: bytes = file.read()
        return content


def remove(name: str) -> None:
    """Remove a file, if it is there. Raises what the storage raises."""
    backend().delete(name)


def older_than(before: datetime) -> Iterator[str]:
    """The names of files that were put in before then, in no order. Raises what the storage raises."""
    storage = backend()
    last = before.astimezone(UTC).date()
    for folder in _shuffled(_folders(storage)):
        day = _day(folder)
        if day and day > last:
            continue
        # Whatever somebody has put there, a name that is no text is none of ours.
        names = [f"{folder}/{name}" for name in storage.listdir(folder)[1] if name.isprintable()]
        # Of a day that was over by then no file needs to be asked for its time.
        is_over = day is not None and day < last
        yield from (name for name in _shuffled(names) if is_over or _is_older(storage, name, before))


def why(error: Exception) -> str:
    """What a storage raised, in words that name no file and no account."""
    said = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _sync(path: Path) -> None:
    """So that it outlives a power cut: what is in the file, and that it is in its folder."""
    for each in (path, path.parent, path.parent.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _folders(storage: Storage) -> list[str]:
    try:
        found = storage.listdir("")[0]
    except FileNotFoundError:  # nothing was ever put in
        return []
    return [folder for folder in found if folder == INCOMING or _day(folder)]


def _day(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder) if _DAY.fullmatch(folder) else None
    except ValueError:
        return None


def _is_older(storage: Storage, name: str, before: datetime) -> bool:
    try:
        changed = storage.get_modified_time(name)
    except FileNotFoundError:  # it has just been taken
        return False
    return (timezone.make_aware(changed) if timezone.is_naive(changed) else changed) < before


def _shuffled(names: list[str]) -> list[str]:
    """Who has no time for all of them has other ones the next time."""
    return random.sample(names, len(names))
