"""Faults of the settings and of the installed packages are named, with their mends."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks.registry import registry
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pytest_django import Settings

from events_app.monitoring import versions
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.doctor import examine

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture
def without_secret(anymail: Callable[..., None]) -> None:
    """Only inbound mail has a key."""
    key = WebhookSender().public_key
    anymail(WEBHOOK_SECRET=(), SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=key)


@pytest.mark.usefixtures("without_secret")
def test_a_webhook_without_a_secret() -> None:
    fault = examine().fault("Configuration")
    assert fault.level == "error"
    assert fault.text.startswith("The webhook rejects every post: no key")
    assert fault.text.endswith("(events_app.E004)")
    assert fault.advice.startswith("Set SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY to the verification key")


def test_a_verification_key_that_is_none(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY="MFkw")
    fault = examine().fault("Configuration")
    assert fault.text.startswith("SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY, key 1: ")
    assert fault.text.endswith("(events_app.E002)")


@pytest.mark.usefixtures("without_secret")
def test_a_silenced_check_is_silent(settings: Settings) -> None:
    settings.SILENCED_SYSTEM_CHECKS = [
        *settings.SILENCED_SYSTEM_CHECKS,
        "events_app.E004",
        "sending_app.I001",
    ]
    run = examine()
    assert "E004" not in run.output
    assert "Django's system checks for a deployment find nothing wrong." in run.output


@pytest.mark.usefixtures("without_secret")
def test_a_check_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> list[checks.CheckMessage]:
        raise RuntimeError("a-secret")

    monkeypatch.setattr(registry, "registered_checks", set(registry.registered_checks))
    checks.register(broken, "a_tag")
    run = examine()
    texts = [line.text for line in run.faults() if line.subject == "Configuration"]
    assert len(texts) == 2
    assert any("broken ended with RuntimeError" in text for text in texts)
    assert "a-secret" not in run.output


def test_a_version_out_of_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(versions.TESTED, "celery", ">=99")
    fault = examine().fault("Versions")
    assert re.fullmatch(r"celery [\d.]+ is not among the tested versions \(>=99\)\.", fault.text)
    assert fault.advice == "Install a tested version: pip install 'celery>=99'"


def test_the_ranges_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["deploy"]]
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, declared)}
    assert {name: SpecifierSet(tested) for name, tested in versions.TESTED.items()} == {
        name: ranges[name] for name in versions.TESTED
    }
    pythons = [
        name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r"Python :: 3\.\d+$", name)
    ]
    assert SpecifierSet(versions.PYTHON) == SpecifierSet(
        f"{project['requires-python']},<3.{max(int(version[2:]) for version in pythons) + 1}"
    )
