"""The facts about the workers that send mail."""

from collections.abc import Iterator

from events_app.shared.checks import mail_backends
from events_app.shared.facts import REDIS, Depth, Reading, source
from events_app.shared.heartbeats import read_queues
from sending_app import tasks
from sending_app.backends.queued import EmailBackend

_QUEUED = f"{EmailBackend.__module__}.{EmailBackend.__qualname__}"


@source(Depth.READINESS, REDIS)
def read_mail_workers() -> Iterator[Reading]:
    """Say which queue has no worker, if mails wait in queues."""
    if _QUEUED in mail_backends().values():
        yield from read_queues({tasks.MAIL: "mails", tasks.BULK: "bulk mails"})
