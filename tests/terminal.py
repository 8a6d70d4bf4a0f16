"""An operator's command, as it is called and what it prints."""

from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def printed(command: str, *args: object, terminal: int = 0) -> str:
    """What it prints, on a terminal of so many columns or into a pipe."""
    out = Terminal() if terminal else StringIO()
    with mock.patch.dict("os.environ", {"COLUMNS": str(terminal)}):
        call_command(command, *map(str, args), stdout=out, stderr=out)
    return out.getvalue()


def interrupt_the_second(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Somebody presses Ctrl-C while this function is called for the second time."""
    function, calls = getattr(module, name), []

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return function(*args)

    monkeypatch.setattr(module, name, interrupted)
