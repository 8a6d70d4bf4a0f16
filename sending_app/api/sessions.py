"""HTTP sessions that are kept alive, so that not every mail pays for a connection and a TLS handshake.

Each thread of each process has its own, one for each address it posts to.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter

#: Seconds after which an idle connection is not used again. A server that hangs up on it in the very
#: moment we post makes the outcome unknown of a mail that was never read. Servers wait for a minute or
#: more (60 s is the default of AWS's balancers); half of that is far from their moment.
MAX_IDLE = 30.0


class _Thread(threading.local):
    def __init__(self) -> None:
        self.pid = os.getpid()
        #: Each with the time of its last use.
        self.kept: dict[str, tuple[requests.Session, float]] = {}


_thread = _Thread()


@contextmanager
def session(url: str) -> Iterator[requests.Session]:
    """This thread's session for what is posted to `url`."""
    kept = _kept()
    found, last_used = kept.pop(url) if url in kept else (_new(), 0.0)
    if time.monotonic() - last_used > MAX_IDLE:
        found.close()  # its connections; it makes itself new ones
    try:
        yield found
    except BaseException:
        # Whatever broke off an exchange, a time limit's signal too: the rest of its answer may still
        # come, and would be taken for the answer to the next mail.
        found.close()
        raise
    kept[url] = found, time.monotonic()


def close() -> None:
    """Let go of this thread's connections."""
    kept = _kept()
    while kept:
        kept.popitem()[1][0].close()


def _kept() -> dict[str, tuple[requests.Session, float]]:
    if _thread.pid != os.getpid():
        # A fork shares its parent's sockets: two would write on one connection. Not closed: they are
        # still the parent's.
        _thread.__init__()  # type: ignore[misc]
    return _thread.kept


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        # Asked even with allow_redirects=False, to prepare the request that could be made next: with the key,
        # and raising what there is to raise about a bad Location.
        return None


def _new() -> requests.Session:
    made = _Session()
    # One thread has one request at a time. Whether to try again is decided elsewhere, never in here.
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return made
