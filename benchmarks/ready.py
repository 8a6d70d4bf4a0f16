"""A worker of a rival tells that it is ready.

At the level INFO, where Celery tells it, the rival would also log each task, and would be slower.
"""

from typing import Any

from celery.signals import worker_ready


@worker_ready.connect
def tell(**_: Any) -> None:
    print("The worker is ready.")
