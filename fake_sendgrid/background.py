"""A local SendGrid in a process of its own, for `client.start`. It ends when its standard input ends.

Standard input ends with the parent process, even a parent that is killed.
"""

import signal
import sys

from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import site


def main() -> None:
    # Ctrl-C in a terminal reaches every process there. The parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with FakeSendGrid(keys=None) as fake:
        site.add_to(fake)
        sys.stdout.write(f"{fake.page_url}\n")
        sys.stdout.flush()
        sys.stdin.read()
