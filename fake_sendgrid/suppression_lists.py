"""SendGrid's suppression lists of an account, and its unsubscribe groups. Events put nothing on them.

Source: the published specification (twilio/sendgrid-oai, tsg_suppressions_v3).
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_sendgrid.rules.addresses import folded

#: The lists of whole addresses, and the fields of their entries besides `email` and `created`.
LISTS: Mapping[str, tuple[str, ...]] = {
    "bounces": ("reason", "status"),
    "blocks": ("reason", "status"),
    "invalid_emails": ("reason", "status"),
    "spam_reports": ("ip",),
    "unsubscribes": (),
}


@dataclass(frozen=True)
class Entry:
    """An address on a list."""

    email: str
    #: Unix seconds.
    created: int
    fields: Mapping[str, str] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        return {"created": self.created, "email": self.email, **self.fields}


@dataclass
class Group:
    """An unsubscribe group with its members."""

    id: int
    name: str
    description: str
    is_default: bool = False
    members: dict[str, Entry] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "is_default": self.is_default,
        }


class SuppressionLists:
    """Tests and the control API fill and clear the lists. A list is one of LISTS, or "group:" and an id."""

    def __init__(self) -> None:
        self.groups: dict[int, Group] = {}
        self._lists: dict[str, dict[str, Entry]] = {name: {} for name in LISTS}
        self._lock = threading.Lock()

    def add(self, name: str, email: str, created: float | None = None, **fields: str) -> None:
        """Put an address on a list. An entry of the same address keeps its time. Raises ValueError.

        `created` are Unix seconds (default: now). A group is made if it is missing.
        """
        members = self._members(name, makes_group=True)
        known = {wanted: fields.get(wanted, "") for wanted in LISTS.get(name, ())}
        if unknown := fields.keys() - known:
            raise ValueError(f"an entry of {name} has no {min(unknown)}")
        at = int(time.time() if created is None else created)
        with self._lock:
            members.setdefault(folded(email), Entry(email, at, known))

    def remove(self, name: str, email: str) -> bool:
        """Take an address off a list; whether it was there. Raises ValueError for an unknown list."""
        with self._lock:
            return self._members(name).pop(folded(email), None) is not None

    def find(self, name: str, email: str) -> Entry | None:
        return self._members(name).get(folded(email))

    def entries(self, name: str) -> list[Entry]:
        """The entries of a list, newest first. Raises ValueError for an unknown list."""
        with self._lock:
            members = list(self._members(name).values())
        return sorted(members, key=lambda entry: (-entry.created, entry.email))

    def names(self) -> list[str]:
        """The names of the lists, those of groups included."""
        return [*self._lists, *(f"group:{number}" for number in self.groups)]

    def emails(self, name: str) -> list[str]:
        """The addresses of a list, newest first. Raises ValueError for an unknown list."""
        return [entry.email for entry in self.entries(name)]

    def clear(self) -> None:
        """Empty every list, and forget the groups."""
        with self._lock:
            self.groups.clear()
            for members in self._lists.values():
                members.clear()

    def clear_list(self, name: str) -> None:
        with self._lock:
            self._members(name).clear()

    def create_group(self, group: Callable[[int], Group]) -> Group:
        """Keep the group that `group` makes for a new id."""
        with self._lock:
            made = group(max(self.groups, default=100) + 1)
            self.groups[made.id] = made
            return made

    def _members(self, name: str, *, makes_group: bool = False) -> dict[str, Entry]:
        if name in self._lists:
            return self._lists[name]
        prefix, _, number = name.partition(":")
        if prefix == "group" and number.isdecimal():
            if makes_group:
                self.groups.setdefault(int(number), Group(int(number), f"Group {number}", "A group"))
            if int(number) in self.groups:
                return self.groups[int(number)].members
        raise ValueError(f"no list {name!r}; the lists are {', '.join(LISTS)}, and group:ID of a group")
