"""An ordinary project: a bookshop with its own user model, Celery app and tests, on the installed wheel.

`tests/flows/test_host_project.py` copies this folder out of the repository and runs its commands there.
"""

from bookshop.celery import app as celery_app

__all__ = ["celery_app"]
