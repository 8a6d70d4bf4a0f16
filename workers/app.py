"""The Celery app of a deployment: its queues, its schedule, and a reason for every number.

The options of wake-ups are on the tasks (`events_app.shared.wakeup`), so that they also hold in a host
project's own Celery app. This module has the options of the process. The source of a claim is the code of
Celery and kombu unless a comment names another.
"""

import os
import re
from typing import Any

from celery import Celery
from celery.app import utils
from celery.schedules import crontab
from kombu import Exchange, Queue

from workers.broker import CONNECT_TIMEOUT, READ_TIMEOUT, broker_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("sendgrid-pipeline")
# Celery's own loses events of threads.
app.events.dispatcher_cls = "workers.task_events:Dispatcher"
# `celery report`, `celery inspect conf` and flower show these two with the password, unlike `broker_url`.
_hidden = utils.HIDDEN_SETTINGS  # type: ignore[attr-defined] # celery-types lacks it
utils.HIDDEN_SETTINGS = re.compile(f"{_hidden.pattern}|BROKER_(READ|WRITE)_URL", re.IGNORECASE)  # type: ignore[attr-defined]

#: New events, retries, and recovery after a worker's death: a queue each, so that none waits for another.
EVENT_QUEUES = ("sendgrid.events", "sendgrid.retries", "sendgrid.recovery")

#: Inbound mail. A mail of 30 MB takes a worker seconds, and its receivers may take longer.
INBOUND_QUEUES = ("sendgrid.inbound",)

#: Transactional mail and bulk mail.
MAIL_QUEUES = ("sendgrid.mail", "sendgrid.bulk")

QUEUES = EVENT_QUEUES + INBOUND_QUEUES + MAIL_QUEUES


def _configuration() -> dict[str, Any]:
    from django.conf import settings  # noqa: PLC0415 (read at first use: project imports this module)

    sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    broker = broker_settings(settings.CELERY_BROKER_URL)
    return {
        **broker,
        # To `broker_url` Celery prefers CELERY_BROKER_URL of the environment, as it stands there
        # (celery/app/utils.py, `Settings`).
        "broker_read_url": broker["broker_url"],
        "broker_write_url": broker["broker_url"],
        "broker_transport_options": {
            **broker["broker_transport_options"],
            # The shortest value of all processes on a broker counts. Wake-ups are acknowledged before they
            # run, so it only returns messages that a dead worker had prefetched.
            "visibility_timeout": 300,
            # Without it a worker waits forever on a connection whose other end went silent.
            "socket_timeout": READ_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": True,
        },
        # By default a worker gives up after 100 tries, hours into an outage.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # A full Redis returns an error that would end the worker.
        "broker_channel_error_retry": True,
        "accept_content": ["json"],
        # Another project on the same broker would read a queue named "celery".
        "task_default_queue": QUEUES[0],
        "task_queues": [_queue(name, settings.CELERY_QUEUE_TYPE) for name in QUEUES],
        # A misspelt queue must be an error, not a queue without a worker.
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "result_backend": "django-db",
        # With the names of the task and of its worker, and the arguments. Our tasks have no arguments.
        "result_extended": True,
        "result_expires": 7 * 86400,
        # No prefetching: a prefetched wake-up would wait behind a running drain.
        "worker_prefetch_multiplier": 1,
        # SQLite has one writer at a time; a second process would only wait for the lock.
        "worker_concurrency": 1 if sqlite else None,
        "worker_max_tasks_per_child": 10_000,
        "worker_max_memory_per_child": 400_000,  # kilobytes
        # By default Celery's Django fixup closes database connections before and after each task. Our tasks
        # close broken ones and those older than CONN_MAX_AGE.
        "CELERY_DB_REUSE_MAX": 1000,
        # Celery reads this before the apps load, so the numbers cannot come from the apps. A tick that comes
        # early does nothing.
        "beat_schedule": {
            "events": {"task": "events.tick", "schedule": 5.0},
            "mail": {"task": "sending.tick", "schedule": 5.0},
            # Deletes expired results. Celery's default scheduler adds this entry by itself; ours adds it and
            # removes it again (celery/beat.py, `setup_schedule`).
            "results": {
                "task": "celery.backend_cleanup",
                "schedule": crontab(hour="4", minute="0"),
                "options": {"expires": 12 * 3600},
            },
        },
        # The schedule repeats every few seconds, so no state needs to survive a restart. The default
        # scheduler keeps a file, and in a worker with -B it fails with Python 3.13's dbm.sqlite3.
        "beat_scheduler": "celery.beat:Scheduler",
        "imports": ["workers.inspection", "workers.lifecycle", "workers.logs", "workers.tracing"],
    }


def _queue(name: str, queue_type: str) -> Queue:
    if queue_type != "quorum":
        return Queue(name, Exchange(name), routing_key=name)
    # By the argument Celery detects quorum queues, which refuse its global prefetch limit. It then adds
    # delayed delivery, which needs topic exchanges.
    arguments = {"x-queue-type": queue_type}
    return Queue(name, Exchange(name, "topic"), routing_key=name, queue_arguments=arguments)


# Celery calls the function when it needs the first value. config_from_object("django.conf:settings") would
# read every setting, and on Django 6.1 every superseded EMAIL_ setting warns.
app.add_defaults(_configuration)
app.autodiscover_tasks()
