"""HTTP/2 by hand, over TLS: frames as no library would send them."""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tests.redteam.raw_requests import varint

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = struct.pack("!I", 8)


class Listener(Protocol):
    """A gateway: where it listens, and what guests believe it by."""

    @property
    def address(self) -> str:
        """Host and port."""

    @property
    def ca(self) -> str:
        """CA certificates (PEM)."""


def trusting(ca: str) -> ssl.SSLContext:
    """TLS as a client of HTTP/2 speaks it."""
    context = ssl.create_default_context(cadata=ca)
    context.set_alpn_protocols(["h2"])
    return context


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack("!I", len(content))[1:] + struct.pack("!BBI", kind, flags, stream) + content


def headers(path: str, token: str | None = None, **more: str) -> bytes:
    """The headers of a call, each a literal that is not to be indexed (RFC 7541, 6.2.2)."""
    said = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost", "te": "trailers",
            "content-type": "application/grpc"}  # fmt: skip
    if token is not None:
        said["authorization"] = f"Bearer {token}"
    said.update({name.replace("_", "-"): value for name, value in more.items()})
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in said.items())


def _string(text: str) -> bytes:
    raw = text.encode()
    length = bytes([len(raw)]) if len(raw) < 127 else b"\x7f" + varint(len(raw) - 127)
    return length + raw


def message(body: bytes, *, compressed: bool = False) -> bytes:
    """A message of gRPC."""
    return bytes([compressed]) + struct.pack("!I", len(body)) + body


class Connection:
    """One connection; of what comes, the heads of frames are kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.heads: list[tuple[int, int, int]] = []
        self.closed = asyncio.create_task(self._read(reader))
        self._stream = -1

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Until the other side hangs up."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3]))
                self.heads.append(struct.unpack("!BBI", head[3:]))

    async def send(self, *frames: bytes) -> None:
        """Send frames; ConnectionError when the gateway has hung up."""
        if self.closed.done():
            raise ConnectionResetError("the gateway has hung up")
        self._writer.write(b"".join(frames))
        await self._writer.drain()

    def open(self, path: str, token: str | None = None, **more: str) -> tuple[int, bytes]:
        """A new stream's number, and the frame that opens it."""
        self._stream += 2
        return self._stream, frame(HEADERS, END_HEADERS, self._stream, headers(path, token, **more))

    def ended(self, stream: int) -> bool:
        """Whether the gateway has answered a call, or cut it."""
        return any(
            number == stream and (kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM))
            for kind, flags, number in self.heads
        )

    def told_to_go(self) -> bool:
        """Whether the gateway has had enough of this connection."""
        return self.closed.done() or any(kind == GOAWAY for kind, _, _ in self.heads)

    def cut(self) -> None:
        """Be gone, without a word."""
        self._writer.transport.abort()


@asynccontextmanager
async def connected(gateway: Listener, source: str | None = None) -> AsyncIterator[Connection]:
    """A connection over which the preface was said; `source`: the address that it comes from."""
    host, _, port = gateway.address.rpartition(":")
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trusting(gateway.ca), local_addr=local)
    connection = Connection(reader, writer)
    try:
        await connection.send(PREFACE, frame(SETTINGS, 0, 0))
        yield connection
    finally:
        connection.cut()
        await connection.closed
