"""Its Celery app, as Celery's "First steps with Django" has it."""

from celery import Celery

app = Celery("rival")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
