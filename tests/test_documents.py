"""Pages: a test runs every block about a deployment, or a reason says why not, and links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.documents import ROOT, Block, blocks

PAGES = (
    "docs/first-hour.md",
    "docs/deploy.md",
    "docs/host-project.md",
    "docs/backup.md",
    "docs/sendgrid-console.md",
)

#: Blocks that no test runs, by document, heading and number.
NOT_RUN: dict[tuple[str, str, int], str] = {}


def blocks_run() -> set[tuple[str, str, int]]:
    """The blocks that tests ask for: `block("docs/deploy.md", "The heading", 2)`."""
    calls = (
        [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        for path in sorted((ROOT / "tests" / "flows").glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "block"
    )
    return {
        (str(document), str(heading), int(str(number[0])) if number else 1)
        for document, heading, *number in calls
    }


def name(one: Block) -> tuple[str, str, int]:
    return one.document, one.heading, one.number


@pytest.mark.parametrize("document", PAGES)
def test_each_block_is_run_by_a_test_or_has_a_reason(document: str) -> None:
    named = [name(one) for one in blocks(document)]
    assert named
    assert len(set(named)) == len(named), "two headings of one name"
    known = {one for one in blocks_run() | NOT_RUN.keys() if one[0] == document}
    assert set(named) - known == set()
    assert known - set(named) == set()


def test_no_block_that_is_run_has_a_reason_why_not() -> None:
    assert not blocks_run() & NOT_RUN.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_each_fence_is_closed(path: Path) -> None:
    fences = [line for line in path.read_text().splitlines() if line.strip().startswith("```")]
    assert len(fences) % 2 == 0


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the hosts of repositories make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda path: path.name,
)
def test_each_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    targets = re.findall(r"\]\((?![a-z]+:)([^)\s#]*)#?([^)\s]*)\)", path.read_text())
    broken = []
    for name, anchor in targets:
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{name}#{anchor}")
    assert not broken
