"""Which answer a mail meets: what was ordered for the next ones, then what holds for all, then 202."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fake_sendgrid.responses import ApiResponse, accepted

Condition: TypeAlias = Callable[[dict[str, Any]], bool]


class _Plan(NamedTuple):
    answer: ApiResponse
    when: Condition | None

    def fits(self, mail: dict[str, Any]) -> bool:
        return self.when is None or self.when(mail)


class PlannedResponses:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: list[_Plan] = []
        self._always: list[_Plan] = []

    def next(self, *answers: ApiResponse, when: Condition | None = None) -> None:
        with self._lock:
            self._next.extend(_Plan(answer, when) for answer in answers)

    def always(self, answer: ApiResponse, when: Condition | None = None) -> None:
        """The last one said comes first."""
        with self._lock:
            self._always.insert(0, _Plan(answer, when))

    def clear(self) -> None:
        with self._lock:
            self._next.clear()
            self._always.clear()

    def answer_to(self, mail: dict[str, Any]) -> ApiResponse:
        with self._lock:
            for index, order in enumerate(self._next):
                if order.fits(mail):
                    return self._next.pop(index).answer
            return next((order.answer for order in self._always if order.fits(mail)), _ACCEPTED)


_ACCEPTED = accepted()
