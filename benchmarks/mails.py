"""`mails`: mails a second, from the first `send()` until the database has the last one as accepted.

One process sends the mails one by one, each in its own transaction; workers post them to a stub. The rival is
django-anymail's backend in a Celery task for each mail, with the same kind of rows. Both keep their database
connections. By default Celery closes them around each task, which costs the rival half as much CPU again.
"""

import sys
import time
from functools import partial
from subprocess import run

from benchmarks import deployments, stub
from benchmarks.rounds import alternate, report
from devstack.process import wait_for
from devstack.stack import ROOT, Stack

#: Mails of a round for each side; both take some seconds.
MAILS, RIVALS = 3000, 1000
ROUNDS = 3

#: The rival's pool is the fastest on two cores of the tried ones: threads and prefork of 4 to 48, and gevent.
OURS = ("--concurrency", "40")
RIVAL = ("--pool", "threads", "--concurrency", "32")


def main() -> None:
    with stub.serving(deployments.folder()) as url:
        account = {"SENDGRID_API_KEY": "SG.fake", "SENDGRID_API_URL": url}
        ours = deployments.ours(**account)
        rival = deployments.rival_mailer(**account)
        our_side = partial(mails_a_second, ours, "benchmarks.send", "sending_app_mail")
        rivals = partial(mails_a_second, rival, "benchmarks.rival_mail.send", "rival_mail_message")
        with ours.mailer(*OURS), ours.beat(), rival.worker(*RIVAL, queues=("celery",)):
            our_side(100)
            rivals(100)
            report(*alternate(partial(our_side, MAILS), partial(rivals, RIVALS), ROUNDS))


def mails_a_second(stack: Stack, sender: str, table: str, mails: int) -> float:
    program = [sys.executable, "-m", sender, str(mails)]
    done = run(program, env=stack.env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{sender} failed:\n{done.stderr}")
    ask, left = deployments.asking(stack), f"SELECT count(*) FROM {table} WHERE state <> 'accepted'"
    wait_for(lambda: not ask(left), seconds=300, what="the last mail")
    return mails / (time.time() - float(done.stdout))


if __name__ == "__main__":
    main()
