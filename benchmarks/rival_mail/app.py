"""The rival's Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.rival_mail.settings")

app = Celery("rival_mail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
