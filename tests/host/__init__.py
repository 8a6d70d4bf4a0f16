"""A project as an integrator has one, with `events_app` put into it and none of our deployment.

Never import it in the test process: its Celery app would become the current one there.
"""

from tests.host.celery import app as celery_app

__all__ = ["celery_app"]
