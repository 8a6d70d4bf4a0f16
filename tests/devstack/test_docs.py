"""`./dev docs`: a build that fails says so. `.ci/run` has the build that succeeds, in its own environment."""

from pathlib import Path

import pytest

from devstack import docs


def test_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--serve"]) == 2
    assert capsys.readouterr().err == "usage: ./dev docs\n"


def test_a_failed_build_leaves_no_earlier_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It fails here, because the environment of the tests has no Sphinx."""
    monkeypatch.setattr(docs, "SITE", tmp_path / "site")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").touch()
    assert docs.main([]) == 1
    assert "No module named sphinx" in capfd.readouterr().err
    assert not (tmp_path / "site").exists()
