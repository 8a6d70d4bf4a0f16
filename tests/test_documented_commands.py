"""Each command of `manage.py` that a page names exists, and takes the arguments that the page gives it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Commands of other settings than those of the tests.
ELSEWHERE = {
    "migrate --database sendgrid",  # the database of docs/databases.md
}

_FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_IN_TEXT = re.compile(r"`(?:[\w ./-]* )?(?:manage\.py|\.dev/manage) ([^`]+)`")
_IN_BLOCK = re.compile(r"(?:manage\.py|\.dev/manage) ([^\n'|>;]+)")


def commands_of(page: Path) -> Iterator[str]:
    """The commands with their arguments, without those that leave something out ("…")."""
    text = page.read_text().replace("\\\n", " ")
    examples = [*_FENCE.findall(text), *re.findall(r"^    \$ (.*)$", text, re.MULTILINE)]
    found = [*_IN_TEXT.findall(_FENCE.sub("", text)), *_IN_BLOCK.findall("\n".join(examples))]
    for command in found:
        words = re.split(r" +#", " ".join(command.split()))[0]
        if "…" not in words and "..." not in words and words not in ELSEWHERE:
            yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_takes_its_arguments(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = []
    for command in dict.fromkeys(commands_of(page)):
        name, *arguments = shlex.split(command)
        if name not in get_commands():
            faults.append(f"{command}: there is no such command")
            continue
        loaded = get_commands()[name]
        parser = load_command_class(loaded, name).create_parser("manage.py", name)
        try:
            parser.parse_args(arguments)
        except CommandError as error:
            # A sentence may name a command without all of its arguments.
            if "the following arguments are required" not in str(error):
                faults.append(f"{command}: {error}")
        except SystemExit:
            faults.append(f"{command}: {capsys.readouterr().err}")
    assert not faults


def test_commands_are_found() -> None:
    assert sum(len(list(commands_of(page))) for page in PAGES) > 100
