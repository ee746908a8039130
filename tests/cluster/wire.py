"""The wire between the bot and the API server: to be cut, to fall silent, to die unnoticed, to hold a request back."""

import asyncio
import ctypes
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
SO_ATTACH_FILTER = 26
"""Linux; the socket module has no name for it."""


@dataclass(frozen=True)
class Ends:
    """TLS contexts for a wire that ends TLS on both sides, so that it sees what is said."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def of(cls, certificate: Path, key: Path) -> "Ends":
        """With the API server's own certificate."""
        ends = cls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate)))
        ends.server.load_cert_chain(certificate, key)
        return ends


class Wire:
    """Forwards every byte both ways, TLS and all unless it ends TLS; made by `wire`."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, host: str = LOOPBACK) -> None:
        self._target = host, port
        self._tls = tls
        self._ends: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        """Of each connection: the client's, and the server's."""
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._talks = asyncio.Event()
        self._talks.set()
        self._lets_go = asyncio.Event()
        self._to_hold = b""
        self.held: asyncio.Queue[bytes] = asyncio.Queue()
        self.port = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(*self._target, ssl=self._tls)
        except OSError:
            writer.close()
            return
        self._ends[writer] = back
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            del self._ends[writer]
            self._forgotten -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._talks.wait()
                await self._let_go(data)
                if writer not in self._forgotten:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    async def _let_go(self, data: bytes) -> None:
        """A client sends one request at a time on a connection, so a request's first line begins what is read."""
        if self._to_hold and data.startswith(self._to_hold):
            self.held.put_nowait(data)
            await self._lets_go.wait()

    def hold(self, method: bytes) -> None:
        """Keep requests with this method on the wire until `let_go`; ``held`` gets each. Needs `Ends`."""
        self._to_hold = method + b" "

    def let_go(self) -> None:
        """They arrive now, whatever became of who sent them."""
        self._to_hold = b""
        self._lets_go.set()

    def cut(self) -> int:
        """Every connection there is, watches too; new ones work. How many there were."""
        for writer in [*self._ends.keys(), *self._ends.values()]:
            writer.transport.abort()
        return len(self._ends)

    def silence(self) -> None:
        """Connections stay open, nothing comes through."""
        self._talks.clear()

    def talk(self) -> None:
        self._talks.set()

    def forget(self) -> int:
        """Every connection there is takes all bytes and passes none on, for ever; new ones work. How many there were.

        So does a proxy whose other side is gone.
        """
        self._forgotten |= {*self._ends.keys(), *self._ends.values()}
        return len(self._ends)

    async def unplug(self) -> None:
        """The client's connections lose their other end: the kernel there takes and acknowledges no packet any more.

        A socket filter of one instruction, "take 0 bytes", drops each packet before TCP sees it. What was sent has to
        be acknowledged before: the kernel would go on repeating it, a sign of life. Linux only.
        """
        instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
        program = struct.pack("HL", 1, ctypes.addressof(instruction))
        for end in [writer.get_extra_info("socket") for writer in self._ends]:
            while _unacknowledged(end):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
            end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _unacknowledged(end: socket.socket) -> int:
    """Bytes that were sent and may have to be sent again."""
    return int(struct.unpack("i", fcntl.ioctl(end.fileno(), termios.TIOCOUTQ, bytes(4)))[0])


@asynccontextmanager
async def wire(port: int, ends: Ends | None = None, *, host: str = LOOPBACK) -> AsyncIterator[Wire]:
    """To that port of the host; the other end is on loopback."""
    made = Wire(port, ends.client if ends else None, host)
    server = await asyncio.start_server(made.serve, LOOPBACK, 0, ssl=ends.server if ends else None)
    made.port = int(server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        server.close()
        made.talk()
        made.let_go()
        made.cut()
