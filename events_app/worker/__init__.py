"""What every Celery worker process that serves our queues runs, in a host project's own Celery app too."""

from events_app.worker import connection, time_limits, watchdog


def install() -> None:
    """Connect to Celery's worker signals; called once, by `AppConfig.ready`."""
    connection.install()
    time_limits.install()
    watchdog.install()
