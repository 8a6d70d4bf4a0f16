"""Puts the events and the outbox into whichever database the test at hand is about."""

from typing import Any


class Router:
    events = "default"

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return self.events if model._meta.app_label in ("events_app", "sending_app") else None

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True
