"""A management command: its output, its interruption, and a receiver's traceback for it to show."""

from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def output_of(command: str, *args: object, terminal: int = 0) -> str:
    """Output of the command on a terminal of so many columns, or into a pipe."""
    out = Terminal() if terminal else StringIO()
    with mock.patch.dict("os.environ", {"COLUMNS": str(terminal)}):
        call_command(command, *map(str, args), stdout=out, stderr=out)
    return out.getvalue()


def interrupt_second_call(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Press Ctrl-C during the second call of this function."""
    function, calls = getattr(module, name), []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, interrupted)


TRACEBACK = """Traceback (most recent call last):
  File "receivers.py", line 7, in stop
    raise KeyError("x")
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "receivers.py", line 9, in stop
    raise ConnectionError("the shop is closed")
ConnectionError: the shop is closed
  and what was said
further on
"""
