"""Installs the additions to Celery's workers."""

from events_app.worker import connection, heartbeat, receivers, settings, task_log, time_limits, watchdog


def install() -> None:
    """Connect to Celery's worker signals and filter its lines; called once, by `AppConfig.ready`."""
    settings.require_usable_settings()
    connection.disable_hidden_reconnect()
    time_limits.enforce_time_limits()
    watchdog.watch_workers()
    heartbeat.send_heartbeats()
    receivers.name_receivers()
    task_log.install()
