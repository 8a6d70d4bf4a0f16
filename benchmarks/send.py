"""`python -m benchmarks.send COUNT`: sends COUNT mails in a loop; prints the time of its start."""

import sys
import time

import django
from django.core.mail import EmailMessage

if __name__ == "__main__":
    django.setup()
    print(time.time())
    for number in range(int(sys.argv[1])):
        to = [f"ann{number}@example.com"]
        EmailMessage("Your order", "It is on its way.", "shop@example.com", to).send()
