"""A project's own code that sends mail, in a process of its own, until a file says that it is enough."""

import itertools
import os
import time
from pathlib import Path

from devstack.work_log import SENT_MAILS, STOP
from devstack.work_log.recording import record
from sending_app.message import SendGridMessage


def send_until_stopped(every: float) -> None:
    """Send a mail every so many seconds, and note its id once `send()` has returned."""
    enough = Path(os.environ["WORK_LOG_FOLDER"], STOP)
    for number in itertools.count():
        if enough.exists():
            return
        message = SendGridMessage("News", "There is news.", to=[f"reader{number:06d}@example.com"])
        message.send()
        record(SENT_MAILS, str(message.anymail_status.message_id))
        time.sleep(every)
