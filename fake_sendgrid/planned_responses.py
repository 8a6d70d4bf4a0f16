"""Selects the response to a mail: one planned for the next mails, else one for all mails, else 202."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fake_sendgrid.responses import ApiResponse, accepted

Condition: TypeAlias = Callable[[dict[str, Any]], bool]


class _Plan(NamedTuple):
    response: ApiResponse
    when: Condition | None

    def applies_to(self, mail: dict[str, Any]) -> bool:
        return self.when is None or self.when(mail)


class PlannedResponses:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: list[_Plan] = []
        self._always: list[_Plan] = []

    def next(self, *responses: ApiResponse, when: Condition | None = None) -> None:
        with self._lock:
            self._next.extend(_Plan(response, when) for response in responses)

    def always(self, response: ApiResponse, when: Condition | None = None) -> None:
        """The newest plan comes first."""
        with self._lock:
            self._always.insert(0, _Plan(response, when))

    def clear(self) -> None:
        with self._lock:
            self._next.clear()
            self._always.clear()

    def response_to(self, mail: dict[str, Any]) -> ApiResponse:
        with self._lock:
            for index, plan in enumerate(self._next):
                if plan.applies_to(mail):
                    return self._next.pop(index).response
            return next((plan.response for plan in self._always if plan.applies_to(mail)), _ACCEPTED)


_ACCEPTED = accepted()
