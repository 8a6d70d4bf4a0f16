"""What a worker does at its start: it says which receivers it will call, and looks for work."""

import logging
from typing import Any

from celery.signals import worker_ready

import events_app.tasks
import sending_app.tasks
from events_app.dispatch.kinds import EVENTS
from events_app.dispatch.replay import connected_receivers
from events_app.inbound import storage
from events_app.inbound.store import INBOUND_MAILS
from events_app.shared import wakeup
from sending_app.outcome.notify import QUEUED
from sending_app.signals import backends, post_send, send_failed
from workers.app import MAIL_QUEUES

logger = logging.getLogger(__name__)


@worker_ready.connect(dispatch_uid="workers.lifecycle.log_receivers")
def log_receivers(**_: Any) -> None:
    """A receiver that is missing here is in no app's `ready()`, and would never be called."""
    for kind, comes in ((EVENTS, True), (INBOUND_MAILS, storage.is_configured())):
        names = connected_receivers(kind)
        if names:
            logger.info("Receivers of %ss: %s", kind.noun, ", ".join(names))
        elif comes:
            logger.warning(
                "No receiver is connected for %ss: they will be stored and reach nobody.", kind.noun
            )


@worker_ready.connect(dispatch_uid="workers.lifecycle.check_pool")
def check_pool(sender: Any, **_: Any) -> None:
    """Only prefork can stop a task that takes too long; a hung receiver holds any other pool for ever.

    Who sends mail waits for SendGrid, no longer than REQUESTS_TIMEOUT, and for receivers of `post_send` and
    `send_failed` if there are any.
    """
    pool = type(sender.pool).__module__
    told_of_mail = any(signal.has_listeners(backends.get(QUEUED)) for signal in (post_send, send_failed))
    calls_receivers = told_of_mail or set(sender.app.amqp.queues.consume_from) - set(MAIL_QUEUES)
    if pool != "celery.concurrency.prefork" and calls_receivers:
        logger.warning("The pool %s has no time limits: a receiver that hangs is never cut off.", pool)


@worker_ready.connect(dispatch_uid="workers.lifecycle.look_for_work")
def look_for_work(**_: Any) -> None:
    """What the last worker left is not to wait for beat."""
    for tick in (events_app.tasks.tick, sending_app.tasks.tick):
        wakeup.wake(tick)
