"""The bookshop of `tests/host_project`, outside the repository, on the built wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.stack import PASSED_ON
from devstack.valkey import Valkey

SOURCE = Path(__file__).parents[2] / "host_project"


class HostProject:
    """A copy of the project. Its commands import our packages from the wheel alone."""

    def __init__(self, folder: Path, wheel_folder: Path, valkey: Valkey, database_url: str, key: str) -> None:
        self.folder = folder / "project"
        shutil.copytree(SOURCE, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "PYTHONPATH": str(wheel_folder),
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey.url(0),
            "BROKER_URL": valkey.url(1),
            "VERIFICATION_KEY": key,
        }

    def run(self, *args: str) -> str:
        """Run Python with warnings as errors, and return its output of both kinds. Fails if it fails."""
        done = subprocess.run(
            [sys.executable, "-W", "error", *args],
            env=self.env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def install(wheel: Path, folder: Path) -> None:
    """Unpack the wheel as pip does, without its dependencies."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
