"""The events of tasks reach flower: one that is lost would show its task as unfinished for ever."""

from typing import Any

from workers.app import app


def test_an_event_of_another_thread_during_a_flush_is_sent_by_the_next() -> None:
    sent: list[str] = []
    dispatcher: Any = app.events.Dispatcher(enabled=False, buffer_group=["task"])

    class Producer:
        def publish(self, events: list[dict[str, Any]], **_: Any) -> None:
            sent.extend(event["uuid"] for event in events)
            if sent == ["first"]:
                dispatcher.send("task-started", uuid="meanwhile")

    dispatcher.producer, dispatcher.enabled = Producer(), True
    dispatcher.send("task-received", uuid="first")
    dispatcher.flush()
    dispatcher.flush()
    assert sent == ["first", "meanwhile"]


def test_events_of_a_broker_outage_are_sent_after_it() -> None:
    sent: list[str] = []
    dispatcher: Any = app.events.Dispatcher(enabled=False, buffer_group=["task"])

    class Producer:
        is_away = True

        def publish(self, events: list[dict[str, Any]], **_: Any) -> None:
            if self.is_away:
                raise ConnectionError
            sent.extend(event["uuid"] for event in events)

    dispatcher.producer, dispatcher.enabled = Producer(), True
    dispatcher.send("task-received", uuid="first")
    dispatcher.flush()
    dispatcher.producer.is_away = False
    dispatcher.flush()
    assert sent == ["first"]
