"""The examples of docs/testing.md, "Mail", run as they stand in a project of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sending.django_mail import HAS_MAILERS

ROOT = Path(__file__).parents[2]

SETTINGS = """
SECRET_KEY = "for tests"
INSTALLED_APPS = ["events_app", "sending_app", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ANYMAIL = {"EVENT_REDIS_URL": "redis://127.0.0.1:1/0", "SENDGRID_API_URL": "http://127.0.0.1:1/"}
ROOT_URLCONF = "shop.urls"
MAILERS = {"default": {"BACKEND": "sending_app.backends.queued.EmailBackend"}}
"""

#: In the settings and in the examples; `EMAIL_BACKEND` replaces it on Django 5.2.
MAILERS = re.compile(r'MAILERS( ?= ?)\{"default": \{"BACKEND": ("[\w.]+")\}\}')


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project with the files of the documentation."""
    section = (ROOT / "docs/testing.md").read_text().partition("\n## Mail\n")[2].partition("\n## ")[0]
    files = dict(re.findall(r"```python\n# ([\w/]+\.py)\n(.*?)```", section, re.DOTALL))
    assert files.keys() == {"shop/mails.py", "shop/tests.py", "shop/test_outbox.py"}
    files |= {"settings.py": SETTINGS, "shop/__init__.py": "", "shop/urls.py": "urlpatterns = []"}
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source if HAS_MAILERS else MAILERS.sub(r"EMAIL_BACKEND\1\2", source))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "passed"),
    [
        pytest.param(["django", "test", "shop.tests"], "Ran 3 tests", id="django"),
        pytest.param(
            ["pytest", "-p", "no:valkey", "-p", "no:cacheprovider", "shop/tests.py", "shop/test_outbox.py"],
            "5 passed",
            id="pytest",
        ),
    ],
)
def test_the_documented_tests_pass(project: Path, command: list[str], passed: str) -> None:
    path = os.pathsep.join([str(project), str(ROOT)])
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TEST_"))
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", *command],
        cwd=project,
        env={**inherited, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert passed in run.stdout
