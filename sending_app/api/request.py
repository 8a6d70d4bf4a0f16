"""The parts of a request that all calls of SendGrid's API share, and the cause of a failed request."""

from importlib import metadata

import requests
import urllib3
from requests.auth import AuthBase

try:
    _VERSION = metadata.version("django-sendgrid-pipeline")
except metadata.PackageNotFoundError:  # a checkout
    _VERSION = "source"

HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",  # without it, SendGrid may answer 406 (API Errors)
    "User-Agent": f"django-sendgrid-pipeline/{_VERSION}",
}


class Bearer(AuthBase):
    # Not a plain header: a netrc entry for the host would replace a plain header.
    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def is_sendable(key: str) -> bool:
    """Whether a header may have the key. The error of http.client for another key would quote it."""
    return key.isascii() and key.isprintable()


def cause(fault: BaseException, callers: BaseException | None) -> str:
    """Describe the operating system's error below the wrappers of requests and urllib3.

    `callers` is the exception that the caller was handling before the request.
    """
    deepest: BaseException | None = fault
    while isinstance(deepest, requests.RequestException | urllib3.exceptions.HTTPError):
        deepest = deepest.__cause__ or deepest.__context__
    # The chain may end at an error that the caller was handling. The text of a wrapper may quote the URL.
    known = isinstance(deepest, OSError) and deepest is not callers
    return f"{type(deepest).__name__}: {deepest}" if known else type(fault).__name__
