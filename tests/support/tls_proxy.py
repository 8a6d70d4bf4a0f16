"""Ends TLS in front of a server without TLS, as hosted Redis often does: the bundled Valkey has no TLS.

The proxy is a process of its own: its end cuts all connections at once.
"""

import asyncio
import ssl
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devstack.process import Process, free_port, wait_for
from devstack.stack import ROOT, is_listening
from tests.support.certificates import Certificate


@contextmanager
def tls_proxy(port: int, certificate: Certificate, *, clients_of: Path | None = None) -> Iterator[int]:
    """The port of a proxy for the server on `port`.

    With `clients_of`, a client needs a certificate of the authority in this file.
    """
    own = free_port()
    words: list[str | Path] = [sys.executable, "-m", __name__, str(own), str(port), *certificate]
    words += [clients_of] if clients_of else []
    proxy = Process(words, log=certificate.key.with_name(f"proxy-{own}.log"), cwd=ROOT)
    try:
        wait_for(lambda: is_listening(own), seconds=60, what="the TLS proxy", unless_dead=proxy)
        yield own
    finally:
        proxy.kill()


async def _serve(own: int, port: int, context: ssl.SSLContext) -> None:
    async def connect(reader: StreamReader, writer: StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", port)
        ways = [asyncio.create_task(_copy(reader, onward)), asyncio.create_task(_copy(onward_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        onward.close()
        writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", own, ssl=context)
    await server.serve_forever()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _context(certificate: str, key: str, clients_of: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients_of or None)
    context.load_cert_chain(certificate, key)
    if clients_of:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), _context(*sys.argv[3:])))
