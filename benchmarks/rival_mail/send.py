"""`python -m benchmarks.rival_mail.send COUNT`: sends COUNT mails in a loop; prints the time of its start."""

import sys
import time

import django

import benchmarks.rival_mail.app  # noqa: F401 (its settings, and the app its tasks are sent by)

if __name__ == "__main__":
    django.setup()
    from benchmarks.rival_mail.tasks import send

    print(time.time())
    for number in range(int(sys.argv[1])):
        send("Your order", "It is on its way.", f"ann{number}@example.com")
