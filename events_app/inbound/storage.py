"""The files of inbound posts, in the Django storage that the settings have for them and nothing else."""

from collections.abc import Iterator
from datetime import datetime

from django.core.files.storage import storages
from django.core.files.uploadedfile import TemporaryUploadedFile

#: The name in STORAGES. Not the default one: what is in there is often shown to the world.
ALIAS = "sendgrid_inbound"


def is_there() -> bool:
    """Whether the settings have such a storage."""
    return ALIAS in storages.backends


def keep(spooled: TemporaryUploadedFile) -> str:
    """Put a file in; answer its name there. Raises what the storage raises."""
    raise NotImplementedError


def read(name: str) -> bytes:
    """All of a file. Raises FileNotFoundError, or whatever else the storage raises."""
    raise NotImplementedError


def remove(name: str) -> None:
    """Remove a file, if it is there."""
    raise NotImplementedError


def older_than(before: datetime) -> Iterator[str]:
    """The names of files that were kept before then."""
    raise NotImplementedError
