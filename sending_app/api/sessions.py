"""Keep HTTP sessions alive, so that not every mail pays for a connection and a TLS handshake.

Every thread of a process has sessions of its own, by URL.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter

from sending_app.api.request import HEADERS, Bearer

#: Seconds after which an idle connection is not used again. If the server closes the connection during a
#: post, the outcome is unknown although no mail was read. Servers close after a minute or more (60 s is the
#: default of AWS's load balancers); half of that is safe.
MAX_IDLE = 30.0


class SizedReader(Protocol):
    """A body that knows its size."""

    def read(self, size: int | None = -1, /) -> bytes: ...
    def __len__(self) -> int: ...


class Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        # One thread has one request at a time. Retries are decided by the delivery, never here.
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

        #: By URL and key: a request without a body, and the arguments for `send`.
        self._prepared: dict[tuple[str, str], tuple[requests.PreparedRequest, Any]] = {}

    def post_body(
        self, url: str, key: str, body: SizedReader, timeout: tuple[float, float]
    ) -> requests.Response:
        """Post a body with the key. Do not follow redirects, and do not read the answer.

        As `post`, which for each request looks for proxies in the environment and parses the URL: a third of
        the CPU time of `requests`.
        """
        if (url, key) not in self._prepared:
            prepared = self.prepare_request(requests.Request("POST", url, headers=HEADERS, auth=Bearer(key)))
            # With `stream`. The proxies and the CA bundle of the environment.
            settings = self.merge_environment_settings(url, {}, True, None, None)
            self._prepared[url, key] = prepared, settings
        prepared, settings = self._prepared[url, key]
        request = prepared.copy()
        request.body = body  # type: ignore[assignment] # the stubs know no file
        request.headers["Content-Length"] = str(len(body))
        return self.send(request, timeout=timeout, allow_redirects=False, **settings)

    def get_redirect_target(self, resp: requests.Response) -> None:
        # Even with allow_redirects=False, requests prepares the redirected request: with the key, and with
        # errors about a bad Location.
        return None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.pid = os.getpid()
        #: By URL, with the time of the last use.
        self.by_url: dict[str, tuple[Session, float]] = {}


#: The open sessions of each thread.
open_sessions = _Thread()


@contextmanager
def session(url: str) -> Iterator[Session]:
    """The thread's session for posts to `url`."""
    if open_sessions.pid != os.getpid():
        # A fork shares the sockets of its parent: both would write to one connection. The sockets stay
        # open, because the parent still uses them.
        open_sessions.__init__()  # type: ignore[misc]
    sessions = open_sessions.by_url
    client, last_used = sessions.pop(url) if url in sessions else (Session(), 0.0)
    if time.monotonic() - last_used > MAX_IDLE:
        client.close()  # closes the connections; the session opens new connections
    try:
        yield client
    except BaseException:
        # After any interruption (a time limit's signal too) the rest of the answer may still arrive. The
        # next mail would take the rest for its own answer.
        client.close()
        raise
    sessions[url] = client, time.monotonic()
