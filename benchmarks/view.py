"""One side of `door`: milliseconds of a WSGI call with a signed post of 1,000 events, without a web server.

Argument: the number of posts in a round.
"""

import io
import os
import sys
import time
from collections.abc import Iterator
from itertools import count
from statistics import mean
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.core.wsgi import get_wsgi_application
from redis import Redis

from benchmarks.deployments import sender
from benchmarks.side import answer
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch


def main(posts: int) -> None:
    application = get_wsgi_application()
    requests = _requests(sender())
    valkey = Redis.from_url(os.environ["BENCH_REDIS_URL"])
    _time(application, next(requests))  # unmeasured: it fills caches
    answer(lambda: mean(_after_reset(valkey, application, next(requests)) for _ in range(posts)))


def _requests(sendgrid: WebhookSender) -> Iterator[dict[str, Any]]:
    """Yield the WSGI environ of posts, each with new events."""
    for seed in count(1):
        body = event_batch(generate_events(1000, seed))
        headers = {
            f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sendgrid.headers(body).items()
        }
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/anymail/sendgrid/tracking/",
            "CONTENT_TYPE": headers["HTTP_CONTENT_TYPE"],
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **headers,
        }
        setup_testing_defaults(environ)
        yield environ


def _after_reset(valkey: Redis, application: Any, environ: dict[str, Any]) -> float:
    # No worker empties Valkey here. After a flush each post pays for a wake-up. Without SYNC, Valkey would
    # answer first and free the memory later.
    valkey.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call]
    return _time(application, environ)


def _time(application: Any, environ: dict[str, Any]) -> float:
    answers: list[str] = []
    began = time.perf_counter()
    response = application(environ, lambda status, _headers: answers.append(status))
    b"".join(response)
    response.close()
    taken = time.perf_counter() - began
    assert answers == ["200 OK"], answers
    return 1000 * taken


if __name__ == "__main__":
    main(int(sys.argv[1]))
