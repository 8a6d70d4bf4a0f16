"""Prints the demo: chapters with sentences, output of commands and checked figures, in 79 columns."""

import sys
import textwrap

COLUMNS = 79
INDENT = "   "


def print_chapter(number: int, title: str) -> None:
    print(f"\n{number}. {title}\n", flush=True)


def say(text: str, *, indent: str = INDENT) -> None:
    """Print a paragraph."""
    print(textwrap.fill(text, COLUMNS, initial_indent=indent, subsequent_indent=indent), flush=True)


def show_command(command: str, output: str) -> None:
    """Print a command line and its output."""
    print(f"\n{INDENT}  $ {command}", flush=True)
    for line in output.rstrip().splitlines():
        show(f"  {line}")


def show(line: str) -> None:
    """Print a line of output, cut to the width of the page."""
    line = f"{INDENT}{line}"
    print(line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…", flush=True)


def show_progress(text: str) -> None:
    """Replace the last line of a terminal. Elsewhere, print nothing."""
    if sys.stdout.isatty():
        print(f"\r{INDENT}{text:<{COLUMNS - len(INDENT)}}\r", end="", flush=True)


def check(*rows: tuple[str, int, int]) -> bool:
    """Print names with counted numbers and whether these are as expected. Return whether all of them are."""
    print(flush=True)
    for name, counted, expected in rows:
        verdict = "ok" if counted == expected else f"WRONG: expected {expected}"
        print(f"{INDENT}{counted:>6}  {name:<48}  {verdict}", flush=True)
    return all(counted == expected for _, counted, expected in rows)
