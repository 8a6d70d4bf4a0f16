"""Sends the events of tasks, from any thread, without losing one."""

from typing import Any

from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):
    """Removes an event from the buffer only after it has been sent.

    Celery's own dispatcher sends the buffer and then clears it (celery/events/dispatcher.py, `flush`). Events
    that threads of a mailer add in between are lost, and flower shows the task as unfinished for ever. After
    a failure Celery's dispatcher also clears the events kept for a later try.
    """

    # Attributes of Celery's that its type stubs lack.
    mutex: Any
    producer: Any
    _group_buffer: dict[str, list[Any]]
    _publish: Any

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        super().flush(errors, groups=False)
        if groups:
            with self.mutex:
                for group, events in list(self._group_buffer.items()):
                    if batch := events[:]:
                        self._publish(batch, self.producer, f"{group}.multi")
                        del events[: len(batch)]
