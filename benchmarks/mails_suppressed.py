"""`mails_suppressed`: mails a second with suppression and a million suppressed addresses, against neither.

The deployment and the sender are those of `mails`.
"""

from functools import partial

from benchmarks import deployments, stub
from benchmarks.mails import MAILS, OURS, mails_a_second
from benchmarks.rounds import alternate, report
from devstack.stack import Stack

ROUNDS = 5


def main() -> None:
    with stub.serving(deployments.folder()) as url:
        on, off = (
            deployments.suppressing(is_on, SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=url)
            for is_on in (True, False)
        )
        with on.mailer(*OURS), on.beat(), off.mailer(*OURS), off.beat():
            for stack in (on, off):
                _rate(stack, 100)
            report(*alternate(partial(_rate, on), partial(_rate, off), ROUNDS))


def _rate(stack: Stack, mails: int = MAILS) -> float:
    return mails_a_second(stack, "benchmarks.send", "sending_app_mail", mails)


if __name__ == "__main__":
    main()
