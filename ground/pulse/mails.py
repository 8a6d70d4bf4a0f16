"""A project's own code that sends mail, in a process of its own, until a file says that it is enough."""

import itertools
import os
import time
from pathlib import Path

from ground.pulse import ENOUGH, MAILS
from ground.pulse.signs import note
from sending_app.message import SendGridMessage


def send(every: float) -> None:
    """Send a mail every so many seconds, and note its id once `send()` has returned."""
    enough = Path(os.environ["PULSE_FOLDER"], ENOUGH)
    for number in itertools.count():
        if enough.exists():
            return
        message = SendGridMessage("News", "There is news.", to=[f"reader{number:06d}@example.com"])
        message.send()
        note(MAILS, str(message.anymail_status.message_id))
        time.sleep(every)
