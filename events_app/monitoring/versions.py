"""The installed versions against the tested ranges."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

# kombu needs this package, and so every Celery has it.
from packaging.specifiers import SpecifierSet

from events_app.shared.facts import Depth, FactKind, Level, Reading, declare, source

#: The tested ranges, as in pyproject.toml: a test compares them. psycopg may be missing.
TESTED: Mapping[str, str] = {
    "Django": ">=5.2,<6.2",
    "celery": ">=5.6.3,<5.7",
    "kombu": ">=5.6,<5.8",
    "redis": ">=6.4,<9",
    "requests": ">=2.32",
    "django-celery-results": ">=2.6",
    "cryptography": ">=44",
    "msgspec": ">=0.20",
    "psycopg": ">=3.2,<3.4",
}

#: From the oldest to the newest tested Python.
PYTHON = ">=3.11,<3.14"

VERSION = declare("package_version", "The installed version of a package", FactKind.TEXT, ("package",))


@source(Depth.EXAMINATION)
def read_versions() -> Iterator[Reading]:
    """A reading for every package; only a version outside of the tested range has a text."""
    readings = [_compare("Python", platform.python_version(), PYTHON)]
    for package, tested in TESTED.items():
        try:
            readings.append(_compare(package, version(package), tested))
        except PackageNotFoundError:
            continue
    if all(reading.level == Level.OK for reading in readings):
        names = ", ".join(f"{reading.labels[0]} {reading.value}" for reading in readings[:5])
        readings[0] = readings[0]._replace(text=f"All packages have tested versions: {names}.")
    yield from readings


def _compare(package: str, installed: str, tested: str) -> Reading:
    if SpecifierSet(tested).contains(installed, prereleases=True):
        return VERSION.read(installed, package)
    install = f"Install a tested version: pip install '{package}{tested}'"
    return VERSION.read(
        installed,
        package,
        level=Level.WARNING,
        text=f"{package} {installed} is not among the tested versions ({tested}).",
        advice=f"Run a Python {tested}." if package == "Python" else install,
    )
