"""The rival's Celery app, from Celery's "First steps with Django"."""

from celery import Celery

app = Celery("rival")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
