"""`bulk`: recipients of merges a minute, from the first `send()` until SendGrid has the last part."""

import os
import time
from itertools import count
from typing import Any

import django
from django.core.mail import EmailMessage

from benchmarks import deployments, stub
from benchmarks.rounds import report
from devstack.process import wait_for

#: The recipients of each merge in a round, 30,000 in all.
RECIPIENTS = (1000, 5000, 2000, 4000, 3000, 5000, 1000, 4000, 3000, 2000)
ROUNDS = 3

#: The goal, in recipients a minute.
GOAL = 100_000


def main() -> None:
    with stub.serving(deployments.folder()) as url:
        ours = deployments.ours(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=url)
        os.environ |= ours.env
        django.setup()
        with ours.mailer(queues=("sendgrid.bulk",)), ours.beat():
            recipients_a_minute((1000,))
            report([recipients_a_minute(RECIPIENTS) for _ in range(ROUNDS)], [GOAL] * ROUNDS)


def recipients_a_minute(merges: tuple[int, ...]) -> float:
    from sending_app.models import Mail  # noqa: PLC0415 (it needs the apps)

    messages = [merge(recipients) for recipients in merges]
    began = time.monotonic()
    for message in messages:
        message.send()
    unsent = Mail.objects.exclude(state=Mail.State.ACCEPTED)
    wait_for(lambda: not unsent.exists(), seconds=300, what="the last part")
    return 60 * sum(merges) / (time.monotonic() - began)


_numbers = count()


def merge(recipients: int) -> Any:
    to = [f"customer.{next(_numbers)}@example.com" for _ in range(recipients)]
    message: Any = EmailMessage(from_email="Shop <shop@example.com>", to=to)
    message.template_id = "d-5a963add2ec84305813ff860db277d7a"
    message.merge_data = {one: {"name": f"Customer {one}", "order": 12345, "total": "9.95"} for one in to}
    message.merge_metadata = {one: {"customer_id": f"C-{one}"} for one in to}
    message.metadata, message.tags = {"campaign": "spring"}, ["orders", "spring"]
    return message


if __name__ == "__main__":
    main()
