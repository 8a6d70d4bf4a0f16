"""Runs one side of a comparison in its own process, because the two sides need different settings."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Self

from devstack.stack import ROOT


class Side:
    """Runs `python -m MODULE`, which must call `answer`. Each call of the object measures once."""

    def __init__(self, module: str, env: Mapping[str, str], *arguments: str) -> None:
        self._module = module
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **env},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self) -> float:
        assert self._child.stdin
        assert self._child.stdout
        print(file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with status {self._child.wait()}")
        return float(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The process ends when its stdin closes, so also when this process dies.
        self._child.communicate()


def answer(measure: Callable[[], float]) -> None:
    """In the process of the side: measure once for each line of stdin."""
    for _ in sys.stdin:
        print(measure(), flush=True)
