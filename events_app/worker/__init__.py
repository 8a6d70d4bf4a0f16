"""What every Celery worker process that serves our queues runs, in a host project's own Celery app too."""


def install() -> None:
    """Connect to Celery's worker signals. Called once, by `AppConfig.ready`; does nothing in other processes."""
