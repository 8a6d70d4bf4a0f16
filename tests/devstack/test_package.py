"""`./dev package`: the wheel in new environments."""

import sys
from pathlib import Path

import pytest

from devstack import package
from devstack.distributions import ROOT


def test_without_a_package_index_one_line_says_so(
    built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setattr(package, "pythons", lambda: [sys.executable, sys.executable])
    (problem,) = package.installation_problems(built[0])
    assert "does it reach a package index? ERROR: No matching distribution" in problem
    assert "\n" not in problem


def test_each_python_is_tried_once_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"/a": (3, 12, 1), "/b": (3, 11, 7), "/c": (3, 12, 4), "/d": (3, 10, 2), "/e": None}
    probes = {path: (path, version) if version else None for path, version in versions.items()}
    dev = {"candidates": lambda: list(probes), "probe": probes.get, "OLDEST": (3, 11)}
    monkeypatch.setattr(package, "run_path", lambda path: dev if path == str(ROOT / "dev") else None)
    assert package.pythons() == ["/b", "/c"]
