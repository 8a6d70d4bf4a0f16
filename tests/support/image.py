"""The Dockerfile without Docker: its instructions, and the folder that it copies into the image."""

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

from devstack.stack import ROOT


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of this name, without line breaks."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", "")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def instruction(name: str) -> str:
    (found,) = instructions(name)
    return found


def copy_context(target: Path) -> Path:
    """Copy the repository without the files that .dockerignore names."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    patterns = [line for line in lines if line and not line.startswith("#")]

    def ignored(folder: str, names: list[str]) -> set[str]:
        at_the_top = Path(folder) == ROOT
        return {
            name
            for name in names
            for pattern in patterns
            if fnmatch(name, pattern.removeprefix("**/")) and (at_the_top or pattern.startswith("**/"))
        }

    shutil.copytree(ROOT, target, ignore=ignored)
    return target
