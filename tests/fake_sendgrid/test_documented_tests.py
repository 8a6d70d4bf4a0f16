"""The examples of docs/testing.md, "A local SendGrid", run as they stand in a project of their own."""

from pathlib import Path

import pytest

from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.documented_tests import run_tests, write_project

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


@pytest.mark.parametrize(
    ("command", "passed"),
    [
        (["django", "test", "shop.tests"], "Ran 1 test "),
        (["pytest", "-p", "no:valkey", "-p", "fake_sendgrid.pytest_plugin", "shop"], "3 passed"),
    ],
    ids=["django", "pytest"],
)
def test_the_documented_tests_pass(tmp_path: Path, command: list[str], passed: str) -> None:
    examples = {"shop/tests.py", "shop/test_sendgrid.py"}
    files = {"settings.py": SETTINGS, "shop/__init__.py": "", "shop/urls.py": URLS}
    write_project(tmp_path, "A local SendGrid", examples, files)
    assert passed in run_tests(tmp_path, *command)
