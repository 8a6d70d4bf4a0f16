"""Ends a worker whose settings have an unusable value. A worker does not run the system checks."""

from typing import Any

from celery.signals import worker_init

from events_app.shared.setting import faults, registered


def require_usable_settings() -> None:
    """Make every worker check the settings before the worker starts."""
    worker_init.connect(end_with_faults, dispatch_uid="events_app.worker.settings")


def end_with_faults(**_: Any) -> None:
    """Raise SystemExit with the faults of all settings, if there are any."""
    if found := faults(registered.values()):
        # Celery would log another exception of a receiver, and start the worker.
        raise SystemExit("\n".join(found))
