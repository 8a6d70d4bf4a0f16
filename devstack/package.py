"""`./dev package`: builds wheel and sdist into dist/, checks both, and tries the wheel on each Python.

For each Python from 3.11 up, the wheel is installed into a new environment, with nothing but its dependencies
in their newest releases. Each Django of the classifiers is tried on at least one Python.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path

from devstack import distributions, installed_wheel
from devstack.distributions import ROOT, Unbuilt

DIST = ROOT / "dist"

#: What would put other packages than the wheel's into a new environment, or settings into its Django.
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "DJANGO_SETTINGS_MODULE", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


class Unusable(Exception):
    """The wheel could not be installed, or does not work; the text says why."""


def main(argv: list[str]) -> int:
    if argv:
        print("./dev package takes no arguments.", file=sys.stderr)
        return 2
    try:
        shutil.rmtree(DIST, ignore_errors=True)
        wheel, sdist = distributions.build(DIST)
        list_contents(wheel, sdist)
        problems = distributions.content_problems(wheel, sdist, distributions.tracked_files())
    except Unbuilt as unbuilt:
        problems = [str(unbuilt)]
    else:
        if run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist).returncode:
            problems.append(f"`twine check --strict` refuses a file in {DIST}")
        problems += installation_problems(wheel)
    for problem in problems:
        print(f"package: {problem}", file=sys.stderr)
    print("package: " + ("failed" if problems else "passed"), flush=True)
    return 1 if problems else 0


def list_contents(wheel: Path, sdist: Path) -> None:
    """Print how many files each folder of the distributions has."""
    for path, names in (
        (wheel, distributions.names_in_wheel(wheel)),
        (sdist, distributions.names_in_sdist(sdist)),
    ):
        folders = Counter(name.partition("/")[0] if "/" in name else "." for name in names)
        contents = ", ".join(f"{folder} {count}" for folder, count in sorted(folders.items()))
        print(f"{path.relative_to(ROOT)}, {path.stat().st_size // 1024} kB\n  files: {contents}", flush=True)


def installation_problems(wheel: Path) -> list[str]:
    """Try the wheel on each Python with the newest Django, and the Djangos left over on the newest Python."""
    problems: dict[str, list[str]] = {}
    output: list[str] = []

    def report(python: str, django: str | None = None) -> None:
        try:
            output.append(try_out(wheel, python, django))
        except Unusable as unusable:
            problems.setdefault(str(unusable), []).append(python)
        else:
            print(output[-1], flush=True)

    found = pythons()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(report, found))
        tried = "".join(output)
        left = [
            name for name in distributions.classified("Framework :: Django") if f"Django {name}" not in tried
        ]
        if not problems:
            list(pool.map(report, [found[-1]] * len(left), left))
    return [f"{problem} (with {', '.join(on)})" for problem, on in problems.items()]


def pythons() -> list[str]:
    """The newest patch release of each Python from 3.11 up, as `./dev` finds them, in order."""
    dev = run_path(str(ROOT / "dev"))
    usable = [
        probed for probed in map(dev["probe"], dev["candidates"]()) if probed and probed[1] >= dev["OLDEST"]
    ]
    newest = {version[:2]: python for python, version in sorted(usable, key=lambda probed: probed[1])}
    return list(newest.values())


def try_out(wheel: Path, python: str, django: str | None = None) -> str:
    """Install the wheel into a new environment and try it there; return what was tried. Raises Unusable."""
    requirements = [str(wheel), *([f"Django=={django}.*"] if django else [])]
    with tempfile.TemporaryDirectory(prefix="pipeline-package-") as folder:
        made = run(python, "-m", "venv", "--without-pip", folder)
        if made.returncode:
            raise Unusable(f"no environment could be made: {last_line(made)}")
        environment = Path(folder, "bin", "python")
        pip = (sys.executable, "-m", "pip", "--python", environment)
        options = ("--quiet", "--no-input", "--no-compile", "--no-warn-script-location", "--retries", "1")
        installed = run(*pip, "install", *options, *requirements)
        if installed.returncode:
            raise Unusable(
                "pip could not install the wheel's dependencies; does it reach a package index? "
                f"{last_line(installed)}"
            )
        # -I: from the environment alone. A warning of the product is an error.
        file = installed_wheel.__file__
        tried = run(environment, "-I", "-W", "error", file, *distributions.packages(), cwd=folder)
        consistent = run(*pip, "check")
    for done in (tried, consistent):
        if done.returncode:
            raise Unusable(f"the wheel does not work:\n{done.stdout}")
    return tried.stdout.strip()


def run(*command: str | Path, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    return subprocess.run(
        [str(word) for word in command],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
