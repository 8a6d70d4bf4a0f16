"""One of two sides that cannot share a process: it measures in one of its own, when it is asked to."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Self

from devstack.stack import ROOT


class Side:
    """Asks `python -m MODULE`, which is to call `answer`; `env` beside the environment of the benchmark."""

    def __init__(self, module: str, env: Mapping[str, str], *arguments: str) -> None:
        self._what = module
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
            raise RuntimeError(f"{self._what} ended with status {self._child.wait()}")
        return float(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # It ends with its stdin, so with us as well.
        self._child.communicate()


def answer(measure: Callable[[], float]) -> None:
    """In that process: measure each time a line comes."""
    for _ in sys.stdin:
        print(measure(), flush=True)
