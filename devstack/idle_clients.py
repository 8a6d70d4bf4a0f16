"""Clients that connect to a web server and never finish their request."""

import errno
import resource
import socket
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlsplit

#: The first half of a request's headers.
HALF_HEADERS = b"POST /anymail/sendgrid/tracking/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-"


def request_without_body(url: str, headers: Mapping[str, str], length: int = 1000) -> bytes:
    """Return the headers of a request to `url` that announce a body of `length` bytes."""
    lines = [f"POST {urlsplit(url).path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def raise_open_file_limit(count: int) -> None:
    """Raise the limit of open files to `count`, as far as allowed. Most shells set it to 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class IdleClients:
    """Connections that send the beginning of a request and then nothing."""

    def __init__(self, port: int, beginnings: Sequence[bytes]) -> None:
        raise_open_file_limit(len(beginnings) + 500)
        self._clients = [_IdleClient(port, beginning) for beginning in beginnings]
        self.reconnect()

    def reconnect(self) -> int:
        """Replace the connections that the server has closed; return their number."""
        return sum(client.reconnect() for client in self._clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.connection.close()


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
        # The connection stays pending while the server's accept queue is full.
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
