"""The examples of docs/testing.md, run as they stand in a project of their own."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Set
from pathlib import Path

from tests.support.sending.django_mail import HAS_MAILERS

_ROOT = Path(__file__).parents[2]

#: In the settings and in the examples; `EMAIL_BACKEND` replaces it on Django 5.2.
_MAILERS = re.compile(r'MAILERS( ?= ?)\{"default": \{"BACKEND": ("[\w.]+")\}\}')


def write_project(folder: Path, heading: str, examples: Set[str], files: Mapping[str, str]) -> None:
    """Write the examples below the heading, which have these names, and the project's other files."""
    section = (_ROOT / "docs/testing.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"```python\n# ([\w/]+\.py)\n(.*?)```", section, re.DOTALL))
    assert documented.keys() == examples
    for name, source in {**documented, **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source if HAS_MAILERS else _MAILERS.sub(r"EMAIL_BACKEND\1\2", source))


def run_tests(folder: Path, *command: str) -> str:
    """The output of the project's test command, which passes with warnings as errors."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TEST_"))
    }
    path = os.pathsep.join([str(folder), str(_ROOT)])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", *command],
        cwd=folder,
        env={**inherited, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout
