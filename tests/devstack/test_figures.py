"""The figures of the code, counted in two small apps."""

from pathlib import Path

import pytest

from devstack import figures

MODULES = {
    "events_app/__init__.py": "",
    "events_app/shared/clock.py": '''"""What it says."""

# A comment.


def now(where: str) -> str:
    """The time."""
    return _read(where)


def _read(where):
    found = where
    return found
''',
    "events_app/tasks.py": """from typing import TYPE_CHECKING

from events_app.shared import clock

if TYPE_CHECKING:
    from sending_app.errors import Refused


def now() -> str:
    return clock.now("here")
""",
    "sending_app/errors.py": "class Refused(Exception):\n    pass\n",
    "sending_app/migrations/0001.py": "import nothing\n",
    "README.md": "It raises `Refused`.\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_migrations_are_left_out(root: Path) -> None:
    names = [module.name for module in figures.read(root)]
    assert names == ["events_app", "events_app.shared.clock", "events_app.tasks", "sending_app.errors"]


def test_code_lines_are_counted_without_words(root: Path) -> None:
    clock = figures.read(root)[1]
    assert len(clock.code_lines) == 5
    assert list(figures.function_lengths(clock)) == [1, 2]


def test_names_are_counted(root: Path) -> None:
    modules = figures.read(root)
    assert figures.called_once(modules) == (1, 3)
    assert figures.ambiguous_names(modules) == {"now"}
    assert figures.empty_locals(modules) == (1, 1)
    assert figures.annotated(modules) == (3, 5)


def test_words_are_counted(root: Path) -> None:
    assert figures.pronouns(figures.read(root)) == pytest.approx(2 / 5)


def test_imports_are_followed_but_those_for_the_type_checker(root: Path) -> None:
    links = figures.imports(figures.read(root))
    assert links["events_app.tasks"] == {"events_app.shared.clock"}
    assert figures.longest_chain(links) == 2
    assert figures.top_level("events_app", links) == "2 / 2"


def test_a_chain_ends_where_imports_go_in_a_circle() -> None:
    assert figures.longest_chain({"a": {"b"}, "b": {"a", "c"}, "c": set()}) == 3


def test_errors_count_where_a_page_names_them(root: Path) -> None:
    modules = figures.read(root)
    assert figures.modules_with_errors(root, modules) == {"sending_app.errors"}
    (root / "README.md").write_text("It raises nothing.\n")
    (root / "docs").mkdir()
    assert figures.modules_with_errors(root, modules) == set()


def test_it_prints_the_figures_of_this_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main([]) == 0
    printed = capsys.readouterr().out
    assert "top-level modules / longest chain of sending_app" in printed
    assert "100 %" in printed.splitlines()[-1]
