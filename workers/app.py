"""The Celery app of a deployment: its queues, its schedule, and every number with its reason.

What a wake-up needs sits on the tasks (`events_app.shared.wakeup`), so that it holds in a host project's own
Celery app too. Here is what belongs to the process. Sources: Celery's and kombu's code where
nothing else is named.
"""

import os
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("sendgrid-pipeline")

#: Fresh events, what is tried again, what a dead worker left: a queue each, so that none waits for another.
EVENT_QUEUES = ("sendgrid.events", "sendgrid.retries", "sendgrid.recovery")

#: Inbound mail. One of 30 MB takes seconds of a worker's time, and its receivers may take more.
INBOUND_QUEUES = ("sendgrid.inbound",)

#: Mails that somebody waits for, and mails that go to many at once.
MAIL_QUEUES = ("sendgrid.mail", "sendgrid.bulk")

QUEUES = EVENT_QUEUES + INBOUND_QUEUES + MAIL_QUEUES


def _configuration() -> dict[str, Any]:
    from django.conf import settings  # noqa: PLC0415 (read at first use: project imports this module)

    sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    return {
        "broker_url": settings.CELERY_BROKER_URL,
        "broker_transport_options": {
            # Of all processes on one broker the shortest counts. Bells are acked when they are
            # taken up, so this only frees what a dead worker had prefetched.
            "visibility_timeout": 300,
            # Without it a worker waits for ever on a connection whose other end went silent.
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": True,
        },
        # By default a worker gives up after 100 tries, some hours into an outage.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # A Redis that is full answers with an error that would end the worker.
        "broker_channel_error_retry": True,
        "accept_content": ["json"],
        # Another project on the same broker would read a queue named "celery".
        "task_default_queue": QUEUES[0],
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        # A misspelt queue is an error, not a queue that nobody reads.
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "result_backend": "django-db",
        "result_expires": 7 * 86400,
        # A wake-up is taken when there is a process for it: prefetched ones would wait behind a drain.
        "worker_prefetch_multiplier": 1,
        # SQLite has one writer at a time; a second drain would only wait for its lock.
        "worker_concurrency": 1 if sqlite else None,
        "worker_max_tasks_per_child": 10_000,
        "worker_max_memory_per_child": 400_000,  # kilobytes
        "worker_hijack_root_logger": False,
        # Celery's Django fixup closes database connections before and after each task, unless told
        # to do so only every so many tasks. Our own tasks close what broke or is over CONN_MAX_AGE.
        "CELERY_DB_REUSE_MAX": 1000,
        # Read before Django's apps are, so the number cannot come from the apps' tick, which sees
        # to it that a tick that comes early does nothing.
        "beat_schedule": {
            "events": {"task": "events.tick", "schedule": 5.0},
            "mail": {"task": "sending.tick", "schedule": 5.0},
        },
        # Due every few seconds: nothing to remember over a restart, so no file either.
        # (The default one keeps a file, and in a worker's -B fails to with Python 3.13's dbm.sqlite3.)
        "beat_scheduler": "celery.beat:Scheduler",
        "imports": ["workers.lifecycle"],
    }


# A callable is only called when the first value is asked for. The settings are not read with
# config_from_object("django.conf:settings"): that reads each one, and on Django 6.1 every
# superseded EMAIL_ setting warns.
app.add_defaults(_configuration)
app.autodiscover_tasks()
