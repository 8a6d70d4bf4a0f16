"""The examples of docs/testing.md, "Mail", run as they stand in a project of their own."""

from pathlib import Path

import pytest

from tests.support.documented_tests import run_tests, write_project

SETTINGS = """
SECRET_KEY = "for tests"
INSTALLED_APPS = ["events_app", "sending_app", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ANYMAIL = {"EVENT_REDIS_URL": "redis://127.0.0.1:1/0", "SENDGRID_API_URL": "http://127.0.0.1:1/"}
ROOT_URLCONF = "shop.urls"
MAILERS = {"default": {"BACKEND": "sending_app.backends.queued.EmailBackend"}}
"""


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
def test_the_documented_tests_pass(tmp_path: Path, command: list[str], passed: str) -> None:
    examples = {"shop/mails.py", "shop/tests.py", "shop/test_outbox.py"}
    files = {"settings.py": SETTINGS, "shop/__init__.py": "", "shop/urls.py": "urlpatterns = []"}
    write_project(tmp_path, "Mail", examples, files)
    assert passed in run_tests(tmp_path, *command)
