"""The rival's Celery app."""

import os

from celery import Celery

from benchmarks import ready  # noqa: F401 (it connects a receiver)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.rival_mail.settings")

app = Celery("rival_mail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
