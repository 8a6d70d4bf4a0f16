"""`./dev audit`: no package counts as audited for which the source of advisories had no answer."""

import json
from typing import Any

import pytest

from devstack import audit

CLEAN = {"name": "idna", "version": "3.11", "vulns": []}
VULNERABLE = {
    "name": "django",
    "version": "6.1.0",
    "vulns": [{"id": "CVE-2026-0001", "fix_versions": ["6.1.3"], "aliases": [], "description": ""}],
}
SKIPPED = {"name": "celery", "skip_reason": "Dependency not found on PyPI and could not be audited: celery"}


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        ([CLEAN], audit.CLEAN),
        ([CLEAN, VULNERABLE], audit.VULNERABLE),
        ([CLEAN, SKIPPED], audit.NOT_AUDITED),
        ([VULNERABLE, SKIPPED], audit.VULNERABLE),
    ],
)
def test_the_status_tells_the_three_cases_apart(packages: list[dict[str, Any]], status: int) -> None:
    assert audit.report(json.dumps({"dependencies": packages, "fixes": []}), "") == status


def test_a_vulnerability_is_named_with_the_version_that_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    audit.report(json.dumps({"dependencies": [VULNERABLE]}), "")
    assert "django 6.1.0: CVE-2026-0001, mended in 6.1.3\n" in capsys.readouterr().out


def test_an_unreachable_source_of_advisories_is_no_clean_audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens
    assert audit.main([]) == audit.NOT_AUDITED
    assert capsys.readouterr().err.startswith("audit: ")
