"""The health URLs: whether the process works, and whether the process can take posts.

`/readyz` answers 503 only when the process cannot take posts: Redis does not answer, or a setting is
unusable. All instances share the database and the workers. If an instance answered 503 while the database is
away, the load balancer would take out every instance, and refuse posts for which Redis has room.
"""

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from events_app.monitoring.settings import UNUSABLE_SETTINGS
from events_app.shared import facts
from events_app.shared.facts import Depth, Level, Reading
from events_app.shared.latest import latest_readings

#: Seconds that each source of facts has: Redis and the database are asked one after the other, and the
#: answer must come within two seconds or so.
PATIENCE = 1.0

latest = latest_readings(Depth.READINESS, PATIENCE)


@require_safe
@login_not_required
@non_atomic_requests
@never_cache
def livez(_request: HttpRequest) -> HttpResponse:
    """Answer 200. Asks no server."""
    return _plain("ok")


@require_safe
@login_not_required
@non_atomic_requests
@never_cache
def readyz(_request: HttpRequest) -> HttpResponse:
    """Say whether this process can take posts: 200 or 503, with a line for each fact."""
    takes_posts = not any(map(_prevents_posts, latest.get()))
    status = HTTPStatus.OK if takes_posts else HTTPStatus.SERVICE_UNAVAILABLE
    return _plain(*(f"{line.level.word}: {line.sentences}" for line in lines()), status=status)


def lines() -> list[Reading]:
    """The readings with a text, in words for strangers."""
    return [_for_strangers(reading) for reading in latest.get() if reading.text]


def _prevents_posts(reading: Reading) -> bool:
    if reading.level != Level.ERROR:
        return False
    return reading.fact == UNUSABLE_SETTINGS or reading[:3] == (facts.ANSWERS, 0, (facts.REDIS.name,))


def _for_strangers(reading: Reading) -> Reading:
    # Their texts have the error's own, with addresses.
    if reading.fact == facts.ANSWERS and not reading.value:
        return reading._replace(text=f"{reading.labels[0]} does not answer.")
    if reading.fact == facts.FAULTY:
        return reading._replace(text="A fact could not be read.")
    return reading


def _plain(*lines: str, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse("".join(f"{line}\n" for line in lines), status=status, content_type="text/plain")
