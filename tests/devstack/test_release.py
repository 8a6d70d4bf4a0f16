"""`./dev release`: it tags only a commit that is ready, and lists the packages of a deployment."""

import json
from pathlib import Path
from typing import Any

import pytest

from devstack import bill_of_materials, package, release
from devstack.stack import ROOT

READY = {
    "CHANGELOG.md": "# Changelog\n\n## 0.1.0 (2026-12-01)\n",
    "pyproject.toml": '[project]\nversion = "0.1.0"\n',
}


class Repository:
    """Answers `git`, and notes the tags that are made."""

    def __init__(self) -> None:
        self.files = dict(READY)
        self.status = self.tag = ""
        self.made: list[str] = []

    def git(self, *words: str) -> str:
        if words[:2] == ("tag", "--annotate"):
            self.made.append(words[2])
        return {"status": self.status, "tag": self.tag}[words[0]]


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Repository:
    repository = Repository()
    monkeypatch.setattr(release, "_git", repository.git)
    monkeypatch.setattr(release, "_read", lambda name: repository.files[name])
    monkeypatch.setattr(package, "main", lambda _: 0)
    monkeypatch.setattr(package, "DIST", tmp_path)
    return repository


def test_a_ready_commit_is_tagged_on_request_alone(repository: Repository) -> None:
    assert release.main([]) == 0
    assert repository.made == []
    assert release.main(["--tag"]) == 0
    assert repository.made == ["v0.1.0"]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("CHANGELOG.md", "# Changelog\n\n## 0.1.0 (not released)\n", "CHANGELOG.md needs the heading"),
        (
            "pyproject.toml",
            f"{READY['pyproject.toml']}# https://host{release.PLACEHOLDER}/",
            "needs the real host",
        ),
    ],
)
def test_an_unready_commit_is_not_tagged(
    repository: Repository, capsys: pytest.CaptureFixture[str], file: str, text: str, sentence: str
) -> None:
    repository.files[file] = text
    assert release.main([]) == 0
    assert sentence in capsys.readouterr().out
    assert release.main(["--tag"]) == 1
    assert repository.made == []


@pytest.mark.parametrize(("field", "value"), [("status", " M README.md"), ("tag", "v0.1.0")])
def test_a_changed_tree_and_a_tag_that_exists_are_refused(
    repository: Repository, field: str, value: str
) -> None:
    setattr(repository, field, value)
    assert release.main(["--tag"]) == 1
    assert repository.made == []


def test_a_package_that_fails_is_not_tagged(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "main", lambda _: 1)
    assert release.main(["--tag"]) == 1
    assert repository.made == []


def test_the_bill_has_each_locked_package_with_its_license_and_what_it_needs(tmp_path: Path) -> None:
    file = tmp_path / "bill.cdx.json"
    number = bill_of_materials.write(file)
    bill: dict[str, Any] = json.loads(file.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "django-sendgrid-pipeline",
    )
    components = {component["name"]: component for component in bill["components"]}
    assert len(components) == number
    assert components["django"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert components["kombu"]["purl"] in needs[components["celery"]["purl"]]


def test_both_locks_have_the_same_versions() -> None:
    """The bill has the licenses of installed packages, and `./dev audit` reads one lock for both."""
    of_deployment, of_development = (
        {
            (pin.name, str(pin.specifier))
            for pin in bill_of_materials.locked((ROOT / "requirements" / name).read_text())
        }
        for name in ("run.lock", "dev.lock")
    )
    assert of_deployment
    assert of_deployment <= of_development
