"""The fixture `fake_sendgrid` in the tests of a project, loaded by the entry point of the wheel."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """\
import json
import os
import urllib.request
import pytest

def send(double):
    mail = {
        "personalizations": [{"to": [{"email": "ann@example.com"}]}],
        "from": {"email": "shop@example.org"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hello, Ann."}],
    }
    headers = {"Authorization": "Bearer any", "Content-Type": "application/json"}
    request = urllib.request.Request(double.url + "mail/send", json.dumps(mail).encode(), headers)
    with urllib.request.urlopen(request) as response:
        assert response.status == 202

@pytest.mark.parametrize("number", range(4))
def test_each_test_has_an_empty_double(fake_sendgrid, number):
    assert fake_sendgrid.mails == []
    send(fake_sendgrid)
    assert fake_sendgrid.mails[0].subject == "Hello"
    with open(os.environ["DOUBLES"], "a") as file:
        file.write(fake_sendgrid.url + "\\n")
"""

WITHOUT_FIXTURE = """\
import sys

def test_nothing_is_imported():
    assert "fake_sendgrid.pytest_plugin" in sys.modules
    assert not {"django", "requests", "cryptography", "msgspec", "fake_sendgrid.client"} & set(sys.modules)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of tests beside what the wheel installs: the package's metadata with its entry points."""
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    metadata = tmp_path / "site" / "django_sendgrid_pipeline-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: django-sendgrid-pipeline\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(
        f"[pytest11]\nfake_sendgrid = {entry_points['fake_sendgrid']}\n"
    )
    (tmp_path / "site" / "fake_sendgrid").symlink_to(ROOT / "fake_sendgrid")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return folder


def run(project: Path, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    process = subprocess.run(
        # The plugins of this environment that would import Django or start servers.
        [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:django", *arguments],
        cwd=project,
        env={**env, "PYTHONPATH": str(project.parent / "site"), "DOUBLES": str(project / "doubles")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_a_process_serves_the_tests_of_a_session(project: Path) -> None:
    (project / "test_mail.py").write_text(TESTS)
    assert "4 passed" in run(project, "-n", "0")
    urls = (project / "doubles").read_text().split()
    assert (len(urls), len(set(urls))) == (4, 1)


def test_each_worker_of_xdist_has_a_process(project: Path) -> None:
    (project / "test_mail.py").write_text(TESTS)
    assert "8 passed" in run(project, "-n", "2", "--dist", "each")
    urls = (project / "doubles").read_text().split()
    assert (len(urls), len(set(urls))) == (8, 2)


def test_a_session_without_the_fixture_is_left_alone(project: Path) -> None:
    (project / "test_other.py").write_text(WITHOUT_FIXTURE)
    assert "1 passed" in run(project, "-n", "0", "-p", "no:hypothesispytest")
