"""Clients that connect to a web server and then keep it waiting."""

import errno
import resource
import socket
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlsplit

#: Half of a request's headers.
HALF_HEADERS = b"POST /anymail/sendgrid/tracking/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-"


def request_without_body(url: str, headers: Mapping[str, str], length: int = 1000) -> bytes:
    """A request to `url` without its body."""
    lines = [f"POST {urlsplit(url).path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def raise_open_file_limit(count: int) -> None:
    """Let this process open so many, as far as it may: a shell mostly allows 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class IdleClients:
    """Connections that send the beginning of a request and stop. `reconnect` replaces closed ones."""

    def __init__(self, port: int, beginnings: Sequence[bytes]) -> None:
        raise_open_file_limit(len(beginnings) + 500)
        self._all = [_IdleClient(port, beginning) for beginning in beginnings]
        self.reconnect()

    def reconnect(self) -> int:
        """Connect again where the server has ended a connection; the number of these."""
        return sum(stranger.reconnect() for stranger in self._all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stranger in self._all:
            stranger.connection.close()


class _IdleClient:
    def __init__(self, port: int, beginning: bytes) -> None:
        self._port = port
        self._beginning = beginning
        self._connect()

    def reconnect(self) -> bool:
        try:
            self._send()
            while self.connection.recv(65_536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.connection.close()
        self._connect()
        return True

    def _connect(self) -> None:
        self.connection = socket.socket()
        self.connection.setblocking(False)
        # A server without room in its queue leaves this open.
        self.connection.connect_ex(("127.0.0.1", self._port))
        self._unsent = self._beginning

    def _send(self) -> None:
        if self._unsent:
            try:
                self._unsent = self._unsent[self.connection.send(self._unsent) :]
            except OSError as error:
                if error.errno in (errno.ENOTCONN, errno.EAGAIN):
                    raise BlockingIOError from None
                raise
