"""Additions to every Celery worker of our queues, also in a host project's own Celery app."""

from events_app.worker import connection, time_limits, watchdog


def install() -> None:
    """Connect to Celery's worker signals; called once, by `AppConfig.ready`."""
    connection.disable_hidden_reconnect()
    time_limits.enforce_time_limits()
    watchdog.watch_workers()
