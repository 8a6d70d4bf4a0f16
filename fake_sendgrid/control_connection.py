"""Requests of the client to the control API."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, to_builtins

#: Seconds for a response.
_PATIENCE = 30


class ControlFailed(Exception):
    """The local SendGrid refused a request, or it has ended."""


class ControlConnection:
    def __init__(self, page_url: str) -> None:
        self._address = urlsplit(page_url).netloc

    def send(self, method: str, path: str, message: Struct | None = None, *, patience: float = 0) -> Any:
        """Return the JSON of the response, which may take `patience` seconds longer than usual.

        Raises TimeoutError and ControlFailed.
        """
        # Not requests: a test may replace its connections by a mock.
        connection = HTTPConnection(self._address, timeout=_PATIENCE + patience)
        try:
            body = json.dumps(to_builtins(message or {}))
            connection.request(method, f"/control/{path}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise ControlFailed(f"the local SendGrid at {self._address} gives no answer: {error}") from error
        finally:
            connection.close()
        if response.status == 504:
            raise TimeoutError(answer["error"])
        if response.status != 200:
            raise ControlFailed(answer["error"])
        return answer
