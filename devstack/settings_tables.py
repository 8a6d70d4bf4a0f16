"""`./dev settings`: writes the tables of the settings into `docs/settings.md`, from their declarations."""

import json
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from events_app.shared.setting import Setting

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = "| Name | Default | Values | Meaning |\n|---|---|---|---|\n"


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./dev settings", file=sys.stderr)
        return 2
    django_settings.configure()  # the conf modules need it
    PAGE.write_text(with_tables(PAGE.read_text()))
    return 0


def with_tables(page: str) -> str:
    """The page with the tables of today's declarations between the markers of each app."""
    for app in ("events_app", "sending_app"):
        begin, end = f"<!-- ./dev settings wrote this from {app}/conf.py -->\n", "<!-- end -->\n"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE.name} lacks the markers of {app}.")
        page = f"{before}{begin}\n{table(import_module(f'{app}.conf').SETTINGS)}\n{end}{after}"
    return page


def table(declared: Iterable[Setting[Any]]) -> str:
    """The settings as a table in Markdown."""
    return HEAD + "".join(map(_row, declared))


def _row(setting: Setting[Any]) -> str:
    values = f"{setting.unit}: {setting.read.words}" if setting.unit else setting.read.words
    cells = (f"`{setting.name}`", _shown(setting.default), values, setting.meaning)
    return f"| {' | '.join(cells)} |\n"


def _shown(default: object) -> str:
    """A default as Python writes it."""
    if default in (None, (), ""):
        return "none"
    return f"`{json.dumps(default) if isinstance(default, str) else repr(default)}`"
