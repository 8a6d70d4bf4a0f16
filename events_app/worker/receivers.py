"""At its start a worker names its receivers. A receiver that is not named is never called."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

from celery.signals import worker_ready

from events_app.dispatch.kinds import EVENTS
from events_app.dispatch.replay import connected_receivers
from events_app.inbound import storage
from events_app.inbound.store import INBOUND_MAILS
from events_app.shared.escaping import one_line
from events_app.signals import reported_signals

logger = logging.getLogger(__name__)


def name_receivers() -> None:
    """Name the receivers in every worker, in any Celery app."""
    worker_ready.connect(_report, dispatch_uid="events_app.worker.receivers")


def _report(sender: Any = None, **_: Any) -> None:
    for line in _lines():
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", line)
        elif not getattr(getattr(sender, "controller", None), "quiet", False):
            # As Celery's banner. Without `--loglevel`, Celery sets the root logger to WARNING.
            print(one_line(line), file=sys.__stdout__, flush=True)
    for kind, comes in ((EVENTS, True), (INBOUND_MAILS, storage.is_configured())):
        if comes and not connected_receivers(kind):
            logger.warning(
                "No receiver is connected for %ss: they will be stored and reach nobody.", kind.noun
            )


def _lines() -> Iterator[str]:
    for kind in (EVENTS, INBOUND_MAILS):
        if names := connected_receivers(kind):
            yield f"Receivers of {kind.noun}s: {', '.join(names)}"
    for signal in reported_signals:
        if names := signal.receiver_names():
            yield f"Receivers of {signal.name}: {', '.join(names)}"
