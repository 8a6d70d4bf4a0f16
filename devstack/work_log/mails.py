"""Sends mail as a project's code does, in its own process, until the stop file exists."""

import itertools
import os
import time
from pathlib import Path

from devstack.work_log import SENT_MAILS, STOP
from devstack.work_log.recording import record
from sending_app.message import SendGridMessage


def send_until_stopped(every: float) -> None:
    """Send a mail each `every` seconds and record its id after `send()`."""
    stop_file = Path(os.environ["WORK_LOG_FOLDER"], STOP)
    for number in itertools.count():
        if stop_file.exists():
            return
        message = SendGridMessage("News", "There is news.", to=[f"reader{number:06d}@example.com"])
        message.send()
        record(SENT_MAILS, str(message.anymail_status.message_id))
        time.sleep(every)
