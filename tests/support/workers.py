"""A worker as a status knows it: by its heartbeat."""

from events_app.shared import heartbeats
from workers.app import QUEUES


def record_worker(*queues: str, name: str = "worker@here") -> None:
    """Record the heartbeat of a worker; by default it serves all queues."""
    heartbeats.record_heartbeat(name, heartbeats.Worker(name, queues or QUEUES, 2))
