"""Pages: a test runs every block about a deployment, or a reason says why not, and links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.documents import ROOT, Block, blocks

PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))

#: Tests that take all blocks below a heading, or all of a page, without naming each.
RUN_TOGETHER = {
    ("docs/brokers.md", "RabbitMQ"): "tests/flows/test_broker.py",
    ("docs/databases.md", "Replicas"): "tests/flows/test_databases.py",
    ("docs/databases.md", "A database for events and mail"): "tests/flows/test_databases.py",
    ("docs/databases.md", "Django's pool of connections"): "tests/flows/test_databases.py",
    ("docs/message-attributes.md", ""): "tests/sending_app/test_documented_mail.py",
    ("docs/monitoring.md", "Metrics"): "tests/project/test_monitoring.py",
    ("docs/redis.md", "Users with few rights"): "tests/flows/test_redis.py",
    ("docs/settings.md", "Secrets in files with compose"): "tests/test_compose.py",
    ("docs/testing.md", "Events"): "tests/events_app/test_testing.py",
    ("docs/testing.md", "Failures and retries"): "tests/events_app/test_testing.py",
    ("docs/testing.md", "Inbound mail"): "tests/events_app/test_testing.py",
    ("docs/testing.md", "Mail"): "tests/sending_app/test_documented_tests.py",
    ("docs/testing.md", "In tests with pytest"): "tests/fake_sendgrid/test_documented_tests.py",
    ("docs/testing.md", "In tests with unittest"): "tests/fake_sendgrid/test_documented_tests.py",
}

#: Blocks that no test runs, by document, heading and number, and why.
NOT_RUN = {
    ("docs/develop.md", "Versions", 1): "needs a package index, and changes the locks",
    ("docs/operate.md", "Operating", 1): "needs Docker; test_documented_commands.py reads the commands",
    ("docs/operate.md", "What is in it?", 1): "needs Docker; test_documented_commands.py reads the command",
    ("docs/operate.md", "Who may see it", 1): "a part of a proxy's configuration, for a path of one's own",
    ("docs/personal-data.md", "Answer a request", 1): "test_documented_commands.py reads the commands",
    ("docs/personal-data.md", "Erase a person", 1): "test_documented_commands.py reads the commands",
    ("docs/runbook.md", "Runbook", 1): "test_documented_commands.py reads the commands",
    (
        "docs/testing.md",
        "For development",
        1,
    ): "runs until Ctrl-C; tests/fake_sendgrid/test_main.py starts it",
    ("docs/testing.md", "For development", 2): "shows a key of a run",
    ("docs/testing.md", "From other languages and programs", 1): "tests of the control API make the requests",
}


def constants_of(tree: ast.Module) -> dict[str, object]:
    """The constants of a module: `PAGE = "docs/deploy.md"`."""
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }


def blocks_run() -> set[tuple[str, str, int]]:
    """The blocks that tests ask for: `block("docs/deploy.md", "The heading", 2)`."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        constants = constants_of(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "block":
                document, *others = [
                    constants.get(argument.id)
                    if isinstance(argument, ast.Name)
                    else ast.literal_eval(argument)
                    for argument in node.args
                    if isinstance(argument, ast.Name | ast.Constant)
                ] or [None]
                if str(document).startswith("docs/"):
                    heading, number = [*others, 1][:2]
                    found.add((str(document), str(heading), int(str(number))))
    return found


def name(one: Block) -> tuple[str, str, int]:
    return one.document, one.heading, one.number


def is_program(one: Block) -> bool:
    """Whether the block has a language. Others are output and pictures; those in braces are Sphinx's."""
    return bool(one.language) and not one.language.startswith("{")


@pytest.mark.parametrize("document", PAGES)
def test_each_block_is_run_by_a_test_or_has_a_reason(document: str) -> None:
    headings = {one.heading for one in blocks(document)}
    together = {heading for page, heading in RUN_TOGETHER if page == document}
    assert together <= headings | {""}
    named = [name(one) for one in blocks(document) if is_program(one) and not {one.heading, ""} & together]
    assert len(set(named)) == len(named), "two headings of one name"
    known = {one for one in blocks_run() | NOT_RUN.keys() if one[0] == document}
    assert set(named) - known == set()
    assert known - {name(one) for one in blocks(document)} == set()


@pytest.mark.parametrize(("place", "path"), RUN_TOGETHER.items())
def test_a_test_that_runs_several_blocks_names_their_page(place: tuple[str, str], path: str) -> None:
    document = place[0].rpartition("/")[2]
    assert document in (ROOT / path).read_text()


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
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))],
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
