"""`task_events`: CPU time of a mail in a worker that reports its tasks to flower, against one that does not.

The deployment and the sender are those of `mails`. CPU time, because two rounds differ by more mails a second
than the two sides do. It needs Linux.
"""

import os
from pathlib import Path

from celery import Celery

from benchmarks import deployments, stub
from benchmarks.mails import OURS, mails_a_second
from benchmarks.rounds import alternate, report
from devstack.stack import MAIL_QUEUES

#: Mails of a round, and rounds.
MAILS, ROUNDS = 200, 5


def main() -> None:
    with stub.serving(deployments.folder()) as url:
        ours = deployments.ours(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=url)
        control = Celery(broker=os.environ["BENCH_BROKER_URL"], set_as_current=False).control

        with (
            ours.worker("--pool", "threads", *OURS, queues=MAIL_QUEUES) as worker,
            ours.flower("bench", "bench"),
            ours.beat(),
        ):

            def milliseconds_a_mail() -> float:
                before = cpu_seconds(worker.pid)
                mails_a_second(ours, "benchmarks.send", "sending_app_mail", MAILS)
                return 1000 * (cpu_seconds(worker.pid) - before) / MAILS

            def reporting() -> float:
                control.enable_events(reply=True)
                return milliseconds_a_mail()

            def silent() -> float:
                control.disable_events(reply=True)
                return milliseconds_a_mail()

            silent()
            report(*alternate(reporting, silent, ROUNDS))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
