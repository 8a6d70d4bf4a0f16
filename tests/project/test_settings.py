"""The shipped settings: safe as they are, and the same in .env.example, docker-compose.yml and the docs."""

import ast
import os
import re
import sys
from typing import Any

import django
import pytest
import yaml
from django.test import Client

import project.settings
from devstack.stack import PASSED_ON, ROOT
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import event_batch
from project.environment import Environment
from tests.support import preloaded
from tests.support.events.webhook_requests import SECRET

WEBHOOKS = ("/anymail/sendgrid/tracking/", "/anymail/sendgrid/inbound/")

#: Documented in words: required, or computed.
IN_WORDS = {"DJANGO_SECRET_KEY", "DATABASE_URL", "CELERY_BROKER_URL"}

#: For the variables that .env.example does not give a value.
FILLED_IN = {
    "DJANGO_SECRET_KEY": "tIb4LPv0pHhVBVnSyUnQZ8D9vKxXhB3mNzjK8aIh2GqzE6wY1cRrOlTfUo5dMs7e",
    "DJANGO_ALLOWED_HOSTS": "mail.example.com",
    "POSTGRES_PASSWORD": "a-password-of-letters",
    "FLOWER_PASSWORD": "another-password-of-letters",
    "WEBHOOK_SECRET": "sendgrid:a-third-password-of-letters",
    "SENDGRID_API_KEY": "SG.a-key",
    "DEFAULT_FROM_EMAIL": "The shop <shop@example.com>",
}


def read(path: str) -> str:
    return (ROOT / path).read_text()


def example() -> dict[str, str]:
    """The variables of .env.example, also those that are commented out. Any variable may end in _FILE."""
    return without_files(dict(re.findall(r"^#?([A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE)))


def without_files(variables: dict[str, str]) -> dict[str, str]:
    """Without the variables that name a file with the value of another one."""
    of_files = {f"{name}_FILE" for name in variables}
    return {name: text for name, text in variables.items() if name not in of_files}


def example_defaults() -> dict[str, str]:
    """The variables of .env.example whose values are called defaults."""
    _, heading, section = read(".env.example").partition(
        "\n# --- Optional; the values are the defaults ---\n"
    )
    assert heading
    return without_files(dict(re.findall(r"^#([A-Z_]+)=(.*)$", section, re.MULTILINE)))


def interpolated(value: str, variables: dict[str, str]) -> str:
    """The value as compose makes it of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`."""
    return re.sub(
        r"\$\{(\w+)(?::(?:-([^}]*)|\?[^}]*))?}",
        lambda match: variables.get(match[1]) or match[2] or "",
        value,
    )


def compose_environment(variables: dict[str, str]) -> dict[str, str]:
    """The environment of a service of ours, under this .env file."""
    services = yaml.safe_load(read("docker-compose.yml"))["services"]
    environment: dict[str, str | None] = services["migrate"]["environment"]
    return {
        name: variables[name] if value is None else interpolated(value, variables)
        for name, value in environment.items()
        if value is not None or name in variables
    }


def compose_defaults() -> dict[str, str]:
    return dict(re.findall(r"(?<!\$)\$\{(\w+):-([^}]*)}", read("docker-compose.yml")))


def settings_defaults() -> dict[str, tuple[str, Any]]:
    """By variable: the type that project/settings.py reads, and the default."""
    found = {}
    for call in ast.walk(ast.parse(read("project/settings.py"))):
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("env."):
            name = ast.literal_eval(call.args[0])
            defaults = [keyword.value for keyword in call.keywords if keyword.arg == "default"]
            default = eval(ast.unparse(defaults[0]), vars(project.settings)) if defaults else None
            kind = ast.unparse(call.func).removeprefix("env.")
            found[name] = ("str" if kind in ("one_of", "collector") else kind, default)
    assert len(found) > 30
    return found


def documented(heading: str) -> dict[str, str]:
    """By variable: the default in the table under a heading of docs/settings.md."""
    section = re.split(
        r"^#{2,} ", read("docs/settings.md").partition(f" {heading}\n")[2], flags=re.MULTILINE
    )[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", section, re.MULTILINE)
    return {name: (re.match(r"`([^`]*)`", default) or ["", ""])[1] for name, default in rows}


def run_check(environment: dict[str, str]) -> str:
    """The output of `check --deploy` that counts warnings as failures."""
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    ended = preloaded.run(command, {"PYTHONPATH": str(ROOT)} | inherited | environment, ROOT)
    assert bool(ended.returncode) == ("no issues" not in ended.stdout), ended
    return ended.stdout + ended.stderr


# Names and defaults


def test_the_docs_list_the_variables_of_the_settings_and_of_compose() -> None:
    assert documented("Environment variables").keys() == settings_defaults().keys()
    assert documented("Of docker-compose.yml").keys() == example().keys() - settings_defaults().keys()


def test_documented_defaults_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = documented("Environment variables")
    for name, (kind, default) in settings_defaults().items():
        if name in IN_WORDS:
            continue
        monkeypatch.setenv("NAME", variables[name] or "")
        shown = default if not variables[name] else getattr(Environment(), kind)("NAME")
        assert shown == default, name
        assert bool(variables[name]) == (default not in ("", [])), name


def test_the_defaults_of_the_env_example_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    of_compose = {**documented("Of docker-compose.yml"), **compose_defaults()}
    for name, text in example_defaults().items():
        if name in of_compose:
            assert text == of_compose[name], name
        else:
            kind, default = settings_defaults()[name]
            monkeypatch.setenv("NAME", text)
            assert getattr(Environment(), kind)("NAME", default=type(default)()) == default, name


def test_documented_defaults_of_compose_are_the_defaults() -> None:
    variables = documented("Of docker-compose.yml")
    defaults = {name: text for name, text in compose_defaults().items() if name in variables}
    assert defaults == {name: variables[name] for name in defaults}


def test_the_env_example_leaves_open_what_must_be_filled_in() -> None:
    assert {name for name, text in example().items() if not text} >= FILLED_IN.keys()


# Security


def test_check_deploy_has_no_warning_with_a_filled_in_env_example() -> None:
    recommended = dict(re.findall(r"^([A-Z_]+)=(.+)$", read(".env.example"), re.MULTILINE))
    output = run_check(compose_environment(recommended | FILLED_IN))
    assert output.startswith("System check identified no issues")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"DJANGO_BEHIND_TLS": "0"}, ["security.W004", "security.W012", "security.W016"]),
        ({"DJANGO_HSTS_SECONDS": "0"}, ["security.W004"]),
        ({"DEFAULT_FROM_EMAIL": ""}, []),
    ],
)
def test_check_deploy_warns_of_less_than_the_default(variables: dict[str, str], expected: list[str]) -> None:
    output = run_check(compose_environment(FILLED_IN | variables))
    assert re.findall(r"security\.W\d+", output) == expected
    assert expected or "DEFAULT_FROM_EMAIL is empty" in output


def test_without_a_sender_check_deploy_names_the_setting() -> None:
    without = {name: text for name, text in FILLED_IN.items() if name != "DEFAULT_FROM_EMAIL"}
    output = run_check(compose_environment(without))
    assert "(sending_app.W004) DEFAULT_FROM_EMAIL is 'webmaster@localhost'" in output


@pytest.mark.parametrize("path", [*WEBHOOKS, *(path.removesuffix("/") for path in WEBHOOKS)])
def test_a_post_over_http_gets_no_redirect(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    body = event_batch(generate_events(1))
    answer = client.post(path, body, content_type="application/json", headers=SECRET | {"Host": "localhost"})
    assert answer.status_code in (200, 503)  # an array of events is no mail
    assert client.head(path).status_code == 200


def test_the_admin_is_for_https_alone(admin_client: Client) -> None:
    assert project.settings.SESSION_COOKIE_SECURE
    assert project.settings.CSRF_COOKIE_SECURE
    secure = admin_client.get("/admin/", headers={"X-Forwarded-Proto": "https"})
    assert secure["Strict-Transport-Security"] == "max-age=2592000"
    assert "Strict-Transport-Security" not in admin_client.get("/admin/")


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no Content-Security-Policy.")
def test_every_page_of_the_admin_has_a_content_security_policy(client: Client) -> None:
    policy = client.get("/admin/login/")["Content-Security-Policy"]
    assert "default-src 'self'; " in policy
    assert "unsafe" not in policy


def test_the_root_leads_to_the_overview(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/overview_app/overview/")


def test_error_mails_have_a_sender_that_sendgrid_takes() -> None:
    assert project.settings.SERVER_EMAIL == project.settings.DEFAULT_FROM_EMAIL


# Logs


def test_the_lines_of_runserver_are_in_the_format_of_all_lines() -> None:
    code = """
import logging
server = logging.getLogger("django.server")
server.info("GET %s", "/?to=ann@example.com")
server.warning("GET %s", "/\\nforged")
"""
    ended = preloaded.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code],
        {"PYTHONPATH": str(ROOT), **FILLED_IN},
        ROOT,
    )
    first, second = ended.stderr.splitlines()
    assert first.endswith(" INFO django.server: GET /?to=***@example.com")
    assert second.endswith(r" WARNING django.server: GET /\nforged")


def test_errors_of_the_site_are_mailed_to_the_admins() -> None:
    code = """
import logging
import django
from django.core import mail
from django.test import override_settings
from django.test.utils import setup_test_environment
setup_test_environment(debug=False)
admins = ["ann@example.com"] if django.VERSION >= (6, 0) else [("Ann", "ann@example.com")]
with override_settings(ADMINS=admins):
    logging.getLogger("django.request").error("Internal Server Error: /")
    for _ in range(30):
        logging.getLogger("django.security.DisallowedHost").error("Invalid HTTP_HOST header")
print([message.subject for message in mail.outbox].count("[Django] ERROR: Internal Server Error: /"))
print(len(mail.outbox))
"""
    ended = preloaded.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code],
        {"PYTHONPATH": str(ROOT), **FILLED_IN},
        ROOT,
    )
    assert ended.stdout.split() == ["1", "11"], ended
