"""`./dev figures [FOLDER]`: measures the code of both apps: sizes, imports, names, words of docstrings.

The figures compare one state of the code with another. No test limits them.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
APPS = ("events_app", "sending_app", "overview_app")

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

PRONOUNS = """
it its they them their those these this that what whatever which who whoever whose whom one ones such there
some same others other nobody somebody anybody all none any each
"""

#: Names of local variables that say nothing.
EMPTY = """
data value val values result results res ret item items obj info tmp x y thing found one each some what said
own given told part kind whole many more most rest other others now here there it this that left did
"""

#: Names that Django defines.
OF_DJANGO = frozenset({"Command", "Meta", "Migration"})

_SILENT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


@dataclass(frozen=True)
class Module:
    """A module of an app, without migrations."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def code_lines(self) -> set[int]:
        """Numbers of the lines that are not blank, a comment or a docstring."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        lines = {
            line
            for token in tokens
            if token.type not in _SILENT
            for line in range(token.start[0], token.end[0] + 1)
        }
        return lines - {line for node in self.docstrings for line in _lines(node)}

    @cached_property
    def docstrings(self) -> list[ast.Expr]:
        return [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ]

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS)]


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        print("./dev figures takes one argument, the folder of another checkout.", file=sys.stderr)
        return 2
    if argv == ["--crossed"]:
        return show_crossed()
    for name, figure in figures(Path(argv[0]) if argv else ROOT).items():
        print(f"{name:<58}{figure:>16}")
    return 0


def figures(root: Path) -> dict[str, str]:
    """Return each figure by its name."""
    modules = read(root)
    sizes = [len(module.code_lines) for module in modules if module.code_lines]
    lengths = [length for module in modules for length in function_lengths(module)]
    links = imports(modules)
    named = {f"top-level modules / longest chain of {app}": top_level(app, links) for app in APPS}
    alike = ambiguous_names(modules)
    return {
        "modules": str(len(modules)),
        "code lines": str(sum(sizes)),
        "code lines of a file, mean / p95": f"{mean(sizes):.0f} / {p95(sizes)}",
        "code lines of a function, median / p95": f"{median(lengths):.0f} / {p95(lengths)}",
        "private functions with one caller": share(*called_once(modules)),
        "public names defined in more than one module": str(len(alike)),
        "pronouns and indefinites in 100 words of docstrings": f"{100 * pronouns(modules):.1f}",
        "locals that name nothing": share(*empty_locals(modules)),
        "own modules imported by a module / longest chain": (
            f"{mean(len(to) for to in links.values()):.1f} / {longest_chain(links)}"
        ),
        **named,
        "modules with errors a caller may catch": str(len(modules_with_errors(root, modules))),
        "annotated parameters and returns": share(*annotated(modules)),
    }


def show_crossed() -> int:
    from devstack import crossed_files  # noqa: PLC0415 (it starts servers; the other figures need none)

    for name, files in crossed_files.crossed().items():
        print(f"{'files crossed by ' + name:<58}{len(files):>16}")
        for file in files:
            print(f"    {file}")
    return 0


def read(root: Path) -> list[Module]:
    """Read the modules of both apps."""
    found = []
    for path in sorted(path for app in APPS for path in (root / app).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "migrations" not in parts:
            found.append(Module(".".join(part for part in parts if part != "__init__"), path.read_text()))
    return found


def function_lengths(module: Module) -> Iterator[int]:
    """Return the number of code lines of each function's body."""
    for function in module.functions:
        body = set(range(function.body[0].lineno, (function.end_lineno or 0) + 1))
        yield len(body & module.code_lines)


def called_once(modules: Iterable[Module]) -> tuple[int, int]:
    """How many private functions are named once outside their own definition, and how many there are in all.

    By name over both apps: of two private functions with one name, neither counts.
    """
    modules = list(modules)
    names = Counter(name for module in modules for name in _names(module.tree))
    once = total = 0
    for module in modules:
        for function in module.functions:
            total += 1
            if function.name.startswith("_") and not function.name.endswith("__"):
                inside = sum(name == function.name for name in _names(function))
                once += names[function.name] - inside == 1
    return once, total


def ambiguous_names(modules: Iterable[Module]) -> set[str]:
    """Return the names of public functions and classes that several modules define."""
    places = Counter(
        node.name
        for module in modules
        for node in module.tree.body
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_")
    )
    return {name for name, count in places.items() if count > 1} - OF_DJANGO


def pronouns(modules: Iterable[Module]) -> float:
    """Return the number of pronouns and indefinites in 100 words of docstrings."""
    words = [
        word
        for module in modules
        for node in module.docstrings
        for word in re.findall(r"[a-z]+(?:'[a-z]+)?", ast.literal_eval(node.value).lower())
    ]
    return sum(word in PRONOUNS.split() for word in words) / len(words)


def empty_locals(modules: Iterable[Module]) -> tuple[int, int]:
    """Count the assigned local names that say nothing, and all assigned local names."""
    given = [
        node.id
        for module in modules
        for function in module.functions
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return sum(name in EMPTY.split() for name in given), len(given)


def annotated(modules: Iterable[Module]) -> tuple[int, int]:
    """Count the annotated parameters and returns, and all of them."""
    places = []
    for module in modules:
        for function in module.functions:
            takes = function.args
            each = [*takes.posonlyargs, *takes.args, *takes.kwonlyargs]
            each += [one for one in (takes.vararg, takes.kwarg) if one]
            places += [one.annotation for one in each if one.arg not in ("self", "cls")]
            places.append(function.returns)
    return sum(place is not None for place in places), len(places)


def imports(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Return the modules of both apps that each module imports."""
    by_name = {module.name: module for module in modules}
    links: dict[str, set[str]] = {name: set() for name in by_name}
    for name, module in by_name.items():
        for node in _imports_at_run_time(module.tree):
            if isinstance(node, ast.Import):
                to = [alias.name for alias in node.names]
            else:
                inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                to = [one if one in by_name else str(node.module) for one in inner.values()]
            links[name] |= {one for one in to if one in by_name} - {name}
    return links


def top_level(app: str, links: Mapping[str, set[str]]) -> str:
    """Count the first-level modules and folders of an app, and its longest chain of imports."""
    level: dict[str, set[str]] = {}
    for name, to in links.items():
        if name.startswith(f"{app}."):
            module = ".".join(name.split(".")[:2])
            inner = {".".join(one.split(".")[:2]) for one in to if one.startswith(f"{app}.")}
            level.setdefault(module, set()).update(inner - {module})
    return f"{len(level)} / {longest_chain(level)}"


def longest_chain(links: Mapping[str, set[str]]) -> int:
    """Return the length of the longest chain of imports. An import cycle ends the chain."""
    known: dict[str, int] = {}

    def chain(name: str, above: frozenset[str]) -> int:
        if name not in known:
            below = [chain(to, above | {name}) for to in links.get(name, ()) if to not in above]
            known[name] = 1 + max(below, default=0)
        return known[name]

    return max((chain(name, frozenset({name})) for name in links), default=0)


def modules_with_errors(root: Path, modules: Iterable[Module]) -> set[str]:
    """Return the modules that define an exception class which README or docs name."""
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    told = set(re.findall(r"\w+", " ".join(page.read_text() for page in pages)))
    classes = {
        node.name: (module.name, [ast.unparse(base).rpartition(".")[2] for base in node.bases])
        for module in modules
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
    }

    def is_error(name: str) -> bool:
        if name in classes:
            return any(is_error(base) for base in classes[name][1])
        return name.endswith(("Error", "Exception", "Warning", "ImproperlyConfigured"))

    return {module for name, (module, _) in classes.items() if name in told and is_error(name)}


def p95(sizes: Iterable[int]) -> int:
    ordered = sorted(sizes)
    return ordered[int(0.95 * (len(ordered) - 1))]


def share(some: int, total: int) -> str:
    return f"{some} ({100 * some / total:.0f} %)"


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _imports_at_run_time(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imports_at_run_time(child)


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
