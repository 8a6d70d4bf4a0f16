"""The host's own Celery app. All it says of us is when to tick."""

import json
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.host.settings")

app = Celery("host", broker=os.environ.get("HOST_BROKER_URL"))
app.conf.beat_schedule = {"sendgrid-events": {"task": "events.tick", "schedule": 5.0}}
app.conf.broker_transport_options = json.loads(os.environ.get("HOST_BROKER_OPTIONS", "{}"))
if os.environ.get("HOST_SENDS"):
    app.conf.beat_schedule["sendgrid-mail"] = {"task": "sending.tick", "schedule": 5.0}
if os.environ.get("HOST_LOGGING"):
    import host_logging_1  # type: ignore[import-not-found]  # noqa: F401
app.autodiscover_tasks()
