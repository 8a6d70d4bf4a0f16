"""What every Celery worker process that serves our queues runs, in a host project's own Celery app too."""


def install() -> None:
    """Connect to Celery's worker signals; called once, by `AppConfig.ready`."""
    from celery.signals import worker_init  # noqa: PLC0415

    from events_app.worker import connection  # noqa: PLC0415

    worker_init.connect(connection.add_step, dispatch_uid="events_app.worker.connection")
