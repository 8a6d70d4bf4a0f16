"""Reports dead letters in the log: nobody calls their receivers again without an operator."""

from functools import partial

from django.db import transaction

from events_app.dispatch.kinds import Kind
from events_app.shared.log.floods import limited_logger

logger = limited_logger(__name__)


def report(kind: Kind, pk: int, why: str, using: str, **fields: object) -> None:
    """Log an error when the transaction commits. `why` must quote nothing of the post."""
    line = partial(
        logger.error,
        "%s %d is a dead letter: %s. `manage.py %s show %d` shows the error",
        *(kind.noun.capitalize(), pk, why, kind.command, pk),
        extra={kind.log_field: pk, **fields},
    )
    transaction.on_commit(line, using=using, robust=True)
