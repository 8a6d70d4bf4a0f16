"""At its start a worker checks its pool and looks for work."""

import logging
from typing import Any

from celery.signals import worker_ready

import events_app.tasks
import sending_app.tasks
from events_app.shared import wakeup
from sending_app.outcome.notify import QUEUED
from sending_app.signals import backends, post_send, send_failed
from workers.app import MAIL_QUEUES

logger = logging.getLogger(__name__)


@worker_ready.connect(dispatch_uid="workers.lifecycle.check_pool")
def check_pool(sender: Any, **_: Any) -> None:
    """Warn if the pool cannot stop a hung receiver. Only prefork has time limits.

    A worker that only sends mail may use another pool, because REQUESTS_TIMEOUT limits its posts, unless
    `post_send` or `send_failed` have receivers.
    """
    pool = type(sender.pool).__module__
    mail_has_receivers = any(
        signal.has_listeners(backends.get(QUEUED)) for signal in (post_send, send_failed)
    )
    calls_receivers = mail_has_receivers or set(sender.app.amqp.queues.consume_from) - set(MAIL_QUEUES)
    if pool != "celery.concurrency.prefork" and calls_receivers:
        logger.warning("The pool %s has no time limits: a receiver that hangs is never cut off.", pool)


@worker_ready.connect(dispatch_uid="workers.lifecycle.look_for_work")
def look_for_work(**_: Any) -> None:
    """Wake the ticks, so that work of a stopped worker does not wait for beat."""
    for tick in (events_app.tasks.tick, sending_app.tasks.tick_sending):
        wakeup.wake(tick)
