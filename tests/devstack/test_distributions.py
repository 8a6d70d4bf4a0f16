"""The contents of wheel and sdist."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from devstack import distributions

README = "# Name\n\n[Docs]({link}), [site](https://example.com/), [top](#name)\n"


def test_the_readme_on_a_package_index_has_no_relative_link(built: tuple[Path, Path]) -> None:
    assert not distributions.relative_links(built[0])
    with ZipFile(built[0]) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        assert ".invalid/blob/main/docs/anymail.md)" in archive.read(metadata).decode()


@pytest.mark.parametrize("link", ["docs/mail.md", "./LICENSE", "/LICENSE", "mail.md#attributes"])
def test_a_relative_link_is_found(tmp_path: Path, link: str) -> None:
    wheel = tmp_path / "name-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("name-1.0.dist-info/METADATA", "Name: name\n\n" + README.format(link=link))
    assert distributions.relative_links(wheel) == [link]


def test_the_wheel_has_the_packages_alone(built: tuple[Path, Path]) -> None:
    top = {name.partition("/")[0] for name in distributions.names_in_wheel(built[0])}
    assert {name for name in top if not name.endswith(".dist-info")} == set(distributions.packages())


@pytest.mark.parametrize(
    "name",
    [
        "events_app/py.typed",
        "events_app/migrations/0001_initial.py",
        "events_app/management/commands/events.py",
        "sending_app/py.typed",
        "sending_app/migrations/0001_initial.py",
        "sending_app/management/commands/outbox.py",
    ],
)
def test_the_wheel_has_what_a_project_needs(built: tuple[Path, Path], name: str) -> None:
    assert name in distributions.names_in_wheel(built[0])


@pytest.mark.parametrize("name", ["dev", "requirements/dev.lock", "tests/settings.py", ".ci/run", "PKG-INFO"])
def test_the_sdist_has_what_building_and_testing_need(built: tuple[Path, Path], name: str) -> None:
    assert name in distributions.names_in_sdist(built[1])


def test_each_difference_of_the_contents_from_git_is_reported(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, sdist = built
    tracked = distributions.names_in_sdist(sdist) - {"PKG-INFO"}
    assert not distributions.content_problems(wheel, sdist, tracked)

    added = tmp_path / wheel.name
    added.write_bytes(wheel.read_bytes())
    with ZipFile(added, "a") as archive:
        archive.writestr("tests/settings.py", "")
    problems = distributions.content_problems(added, sdist, tracked - {"dev"} | {"events_app/new.py"})

    assert [problem.partition(", which")[0] for problem in problems] == [
        "the sdist has dev",
        "the sdist lacks events_app/new.py",
        "the wheel has tests/settings.py",
        "the wheel lacks events_app/new.py",
    ]
