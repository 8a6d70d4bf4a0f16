"""The examples of docs/testing.md, "A local SendGrid", run as they stand in a project of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import django
import pytest

from fake_sendgrid.webhook_sender import WebhookSender

ROOT = Path(__file__).parents[2]

SETTINGS = f"""
SECRET_KEY = "for tests"
INSTALLED_APPS = ["events_app", "sending_app", "shop"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
ANYMAIL = {{
    "EVENT_REDIS_URL": "redis://127.0.0.1:1/0",
    "SENDGRID_API_URL": "http://127.0.0.1:1/",
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": "{WebhookSender().public_key}",
}}
ROOT_URLCONF = "shop.urls"
STATIC_URL = "/static/"
MAILERS = {{"default": {{"BACKEND": "sending_app.backends.queued.EmailBackend"}}}}
"""

URLS = """
from django.urls import include, path

urlpatterns = [path("anymail/", include("events_app.urls"))]
"""

#: In the settings and in the examples; `EMAIL_BACKEND` replaces it on Django 5.2.
MAILERS = re.compile(r'MAILERS( ?= ?)\{"default": \{"BACKEND": ("[\w.]+")\}\}')


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project with the files of the documentation."""
    section = (ROOT / "docs/testing.md").read_text().partition("\n## A local SendGrid\n")[2]
    examples = re.findall(r"```python\n# ([\w/]+\.py)\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    files = dict(examples)
    assert files.keys() == {"shop/tests.py", "shop/test_sendgrid.py"}
    files |= {"settings.py": SETTINGS, "shop/__init__.py": "", "shop/urls.py": URLS}
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source if django.VERSION >= (6, 1) else MAILERS.sub(r"EMAIL_BACKEND\1\2", source))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "passed"),
    [
        (["django", "test", "shop.tests"], "Ran 1 test "),
        (["pytest", "-p", "no:valkey", "-p", "fake_sendgrid.pytest_plugin", "shop"], "3 passed"),
    ],
    ids=["django", "pytest"],
)
def test_the_documented_tests_pass(project: Path, command: list[str], passed: str) -> None:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TEST_"))
    }
    path = os.pathsep.join([str(project), str(ROOT)])
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
