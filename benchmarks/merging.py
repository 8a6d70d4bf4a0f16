"""One side of `merge`: `python -m benchmarks.merging ours` or `... rival`."""

import json
import sys
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import django
from django.core.mail import EmailMessage, get_connection

from benchmarks import side

RECIPIENTS = 1000

#: Bodies built in a round. The round's figure is their median.
BODIES = 20


def message() -> Any:
    """Make a message. A project's code does that, so it is not measured."""
    numbers = range(RECIPIENTS)
    made: Any = EmailMessage(from_email="Shop <shop@example.com>", to=[_address(one) for one in numbers])
    made.template_id = "d-5a963add2ec84305813ff860db277d7a"
    made.merge_data = {
        _address(one): {"name": f"Customer {one}", "order": 10_000 + one, "total": f"{one}.95"}
        for one in numbers
    }
    made.merge_metadata = {_address(one): {"customer_id": f"C-{one}"} for one in numbers}
    made.merge_global_data = {"ships_on": "15 May"}
    made.metadata = {"campaign": "spring"}
    made.tags = ["orders", "spring"]
    return made


def _address(number: int) -> str:
    return f"customer.{number}@example.com"


def ours() -> Callable[[Any], bytes]:
    from sending_app.api import payload  # noqa: PLC0415 (the rival's settings do not have it)
    from sending_app.compose import compose  # noqa: PLC0415

    backend: Any = get_connection()

    def build(message: Any) -> bytes:
        mail = compose(message, backend.rules).mail
        (envelopes,) = payload.split_into_requests(mail)
        return payload.encode_body(payload.build(mail.shared, envelopes, mail.attachments))

    return build


def rival() -> Callable[[Any], bytes]:
    warnings.simplefilter("ignore")  # django-anymail warns that it no longer supports SendGrid
    backend: Any = get_connection()

    def build(message: Any) -> bytes:
        payload = backend.build_message_payload(message, backend.send_defaults)
        serialized: str = payload.serialize_data()
        return serialized.encode()

    return build


def measure(build: Callable[[Any], bytes]) -> float:
    return median(_milliseconds(build, message()) for _ in range(BODIES))


def _milliseconds(build: Callable[[Any], bytes], made: Any) -> float:
    began = time.perf_counter()
    body = build(made)
    took = time.perf_counter() - began
    assert len(json.loads(body)["personalizations"]) == RECIPIENTS
    return took * 1000


if __name__ == "__main__":
    django.setup()
    builder = {"ours": ours, "rival": rival}[sys.argv[1]]()
    measure(builder)
    side.answer(lambda: measure(builder))
