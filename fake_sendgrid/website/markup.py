"""HTML by templates that escape every value."""

import html
from collections.abc import Iterable
from string import Template


class Markup(str):
    """HTML that is safe to show as it is."""

    __slots__ = ()


def fill(template: str, **values: object) -> Markup:
    """Fill `$name` places of a template. Every value but Markup is escaped, also for quoted attributes."""
    escaped = {
        name: value if isinstance(value, Markup) else html.escape(str(value))
        for name, value in values.items()
    }
    return Markup(Template(template).substitute(escaped))


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


def fill_each(template: str, rows: Iterable[dict[str, object]]) -> Markup:
    return join(fill(template, **row) for row in rows)
