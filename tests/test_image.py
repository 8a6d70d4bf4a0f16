"""The steps of the Dockerfile, run without Docker in other folders."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devstack.stack import BIN, ROOT
from tests.support import image


def run_step(step: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step with `folder` in place of /venv and /requirements. pip uses the wheels in it, no index."""
    for place in ("/venv", "/requirements"):
        step = step.replace(f" {place}", f" {folder}{place}")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        ["/bin/sh", "-ec", step],
        env={"PATH": f"{BIN}:{os.defpath}", **offline, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def make_wheel(folder: Path, name: str, release: str) -> None:
    info = f"{name}-{release}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{release}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"release = {release!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The environment of the image with one locked package, and wheels of it and of two others."""
    for name, release in (("locked", "1.0"), ("locked", "2.0"), ("slugs", "1.0")):
        make_wheel(tmp_path, name, release)
    (tmp_path / "requirements").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    pip = [str(BIN / "pip"), "--python", str(tmp_path / "venv/bin/python")]
    subprocess.run(
        [*pip, "install", "-q", "--no-index", tmp_path / "locked-1.0-py3-none-any.whl"], check=True
    )
    return tmp_path


def extra_step() -> str:
    (step,) = [step for step in image.instructions("RUN") if "extra.txt" in step]
    return step


def installed(folder: Path, name: str) -> str:
    code = f"import {name}; print({name}.release, end='')"
    return subprocess.check_output([str(folder / "venv/bin/python"), "-c", code], text=True)


@pytest.mark.slow
def test_the_image_gets_the_packages_of_extra_txt_and_keeps_the_lock(folder: Path) -> None:
    extra = folder / "requirements/extra.txt"
    assert run_step(extra_step(), folder).returncode == 0  # there is no such file
    extra.write_text("slugs\nlocked\n")
    done = run_step(extra_step(), folder)
    assert done.returncode == 0, done.stderr
    assert (installed(folder, "slugs"), installed(folder, "locked")) == ("1.0", "1.0")
    extra.write_text("locked>=2\n")
    assert run_step(extra_step(), folder).returncode != 0
    assert installed(folder, "locked") == "1.0"


@pytest.mark.slow
def test_the_image_has_all_files_that_it_runs_and_no_secret(tmp_path: Path) -> None:
    app = image.copy_context(tmp_path / "app")
    names = {path.name for path in app.iterdir()}
    assert not names & {".env", ".git", ".dev", "secrets", "tests", "devstack", "fake_sendgrid", "db.sqlite3"}
    (step,) = [step for step in image.instructions("RUN") if "collectstatic" in step]
    done = subprocess.run(
        ["/bin/sh", "-ec", step],
        env={"PATH": f"{BIN}:{os.defpath}"},
        cwd=app,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (app / "static/admin/css/base.css").exists()
    assert list((app / "workers/__pycache__").glob("app.*.pyc"))


def test_no_step_of_the_image_writes_a_secret_into_it() -> None:
    arguments = [*image.instructions("ARG"), *image.instructions("ENV")]
    assert not [words for words in arguments if "KEY" in words or "SECRET" in words or "PASSWORD" in words]
    assert image.instructions("USER") == ["10001:10001"]
    assert image.instruction("STOPSIGNAL") == "SIGTERM"


def test_the_image_has_a_python_that_the_tests_run_on() -> None:
    images = image.instructions("FROM")
    assert images == ["python:3.13-slim-trixie AS packages", "python:3.13-slim-trixie"]
    assert "Programming Language :: Python :: 3.13" in (ROOT / "pyproject.toml").read_text()
