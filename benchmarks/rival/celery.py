"""The rival's Celery app, from Celery's "First steps with Django"."""

from celery import Celery

from benchmarks import ready  # noqa: F401 (it connects a receiver)

app = Celery("rival")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
