"""`python -m benchmarks.stub PORT`: a stub of SendGrid that accepts every mail after 50 ms.

`fake_sendgrid` validates each mail, and would take CPU from the measured processes.
"""

import asyncio
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.process import Process, free_port, wait_for
from devstack.stack import ROOT

#: Seconds from a request to its response.
DELAY = 0.05

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run the stub in a process; yield the URL of its API."""
    port = free_port()
    program = [sys.executable, "-m", "benchmarks.stub", str(port)]
    with Process(program, log=folder / "stub.log", cwd=ROOT) as process:
        wait_for(lambda: "open" in process.output(), seconds=10, what="the stub", unless_dead=process)
        yield f"http://127.0.0.1:{port}/v3/"


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._came = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head = self._came.find(b"\r\n\r\n")
        length = _LENGTH.search(self._came, 0, head) if head > 0 else None
        if length and len(self._came) >= head + 4 + int(length[1]):
            self._came.clear()
            asyncio.get_running_loop().call_later(DELAY, self._answer)

    def _answer(self) -> None:
        answer = (
            f"HTTP/1.1 202 Accepted\r\nX-Message-Id: {uuid.uuid4().hex[:22]}\r\nContent-Length: 0\r\n\r\n"
        )
        self._transport.write(answer.encode())


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=1024)
    print("open", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
