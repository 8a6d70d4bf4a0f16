"""Builds the wheel and the sdist, and compares their contents with git."""

import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from pathlib import Path
from typing import Any
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]

#: Targets of links and images, in Markdown and in HTML.
LINK = re.compile(r"""\]\(([^)\s]*)|\b(?:href|src)=["']?([^"'\s>]*)""")


class Unbuilt(Exception):
    """The build failed, or git cannot say what belongs into it; the text says why."""


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist, as an installer does; return the wheel and the sdist.

    Built by the packages of this environment, so nothing is downloaded. Raises Unbuilt.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unbuilt(f"the build failed:\n{done.stdout}{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def packages() -> list[str]:
    """The packages of the wheel."""
    names: list[str] = _project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return names


def classified(prefix: str) -> list[str]:
    """Versions in the classifiers that begin with `prefix`, such as "Framework :: Django"."""
    classifiers = "\n".join(_project()["project"]["classifiers"])
    return re.findall(rf"^{re.escape(prefix)} :: (\d+\.\d+)$", classifiers, re.MULTILINE)


def names_in_wheel(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def names_in_sdist(sdist: Path) -> set[str]:
    """Names without the folder that holds all of them."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if not member.isdir()}


def content_problems(wheel: Path, sdist: Path, tracked: set[str]) -> list[str]:
    """Compare the sdist with all tracked files, and the wheel with those of its packages.

    Return a sentence for each difference, and for each relative link of the README.
    """
    in_packages = {name for name in tracked if name.partition("/")[0] in packages()}
    typed = {f"{package}/py.typed" for package in packages()}
    return [
        *_differences("the sdist", names_in_sdist(sdist), tracked | {"PKG-INFO"}),
        *_differences("the wheel", names_in_wheel(wheel), in_packages | typed | _metadata_names(wheel)),
        *(f"the README of the wheel has a relative link: {link}" for link in relative_links(wheel)),
    ]


def relative_links(wheel: Path) -> list[str]:
    """Links of the README that lead nowhere on the page of a package index."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = message_from_bytes(archive.read(name)).get_payload()
    targets = [markdown or html for markdown, html in LINK.findall(str(text))]
    return [target for target in targets if not re.match(r"https?://|mailto:|#", target)]


def tracked_files() -> set[str]:
    """The files of the checkout in git's index. Raises Unbuilt if this is no checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unbuilt("this folder is no git checkout: there is nothing to compare the contents with")
    return set(done.stdout.rstrip("\0").split("\0"))


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _metadata_names(wheel: Path) -> set[str]:
    folder = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    names = ["METADATA", "RECORD", "WHEEL", "licenses/LICENSE"]
    if _project()["project"].keys() & {"entry-points", "scripts"}:
        names.append("entry_points.txt")
    return {f"{folder}/{name}" for name in names}


def _differences(where: str, names: set[str], expected: set[str]) -> list[str]:
    return [
        *(
            f"{where} has {name}, which is not in git or does not belong there"
            for name in sorted(names - expected)
        ),
        *(f"{where} lacks {name}" for name in sorted(expected - names)),
    ]
