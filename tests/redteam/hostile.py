"""`python -m tests.redteam.hostile ATTACK SECONDS`: one way to use a gateway up, in a process of its own.

Reads a `Target` and words of the attack's as JSON from its input; writes an empty line when it begins, and then what became
of it, in words.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import resource
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from tests.redteam.http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Connection,
    connected,
    frame,
    headers,
    message,
)
from tests.redteam.probe import INFO, OWN, Target

ENROL = "/coffer.gateway.v1.Identity/Enrol"
ANSWER = "/temporal.api.workflowservice.v1.WorkflowService/"
POLL = f"{ANSWER}PollActivityTaskQueue"
MANY = 20  # connections
AT_ONCE = 60  # calls of one
LARGE = 2_000_000
Attack = Callable[["Load"], Awaitable[None]]


class Load:
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

    async def calls(
        self, path: str, body: bytes, *, connections: int, at_once: int, token: str | None, seconds: float = 3
    ) -> None:
        """Call without a pause, as a client of gRPC does; a call is given up after so many seconds."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        trust = grpc.ssl_channel_credentials(self.target.ca.encode())
        channels = [grpc.aio.secure_channel(self.target.address, trust, OWN) for _ in range(connections)]

        async def call(each: grpc.aio.Channel) -> None:
            method: Any = each.unary_unary(path)
            while not self.is_over:
                try:
                    await method(body, timeout=seconds, metadata=metadata)
                    self.seen["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    self.seen[error.code().name] += 1
                    await asyncio.sleep(0.001)

        await asyncio.gather(*(call(each) for each in channels for _ in range(at_once)))
        await asyncio.gather(*(each.close() for each in channels))

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


async def large_enrolments(load: Load) -> None:
    """Bodies of 2 MB in the one call that needs no token."""
    await load.calls(ENROL, bytes(LARGE), connections=MANY, at_once=AT_ONCE, token="x")


async def large_calls(load: Load) -> None:
    """The same of another method, without a token."""
    await load.calls(INFO, bytes(LARGE), connections=MANY, at_once=AT_ONCE, token=None)


async def medium_enrolments(load: Load) -> None:
    """Bodies that are just let in, over many connections."""
    await load.calls(ENROL, bytes(60_000), connections=60, at_once=AT_ONCE, token="x")


async def small_calls(load: Load) -> None:
    """As many calls as possible with a token that is nobody's."""
    await load.calls(INFO, b"", connections=MANY, at_once=AT_ONCE, token="00000000-0000-4000-8000-000000000000.x")


async def many_connections(load: Load) -> None:
    """Finish TLS, and say nothing."""

    async def once() -> None:
        async with connected(load.target) as connection:
            await connection.closed

    await load.crowd(400, once)


async def half_handshakes(load: Load) -> None:
    """Begin TLS, and say nothing more."""

    async def once() -> None:
        reader, writer = await asyncio.open_connection(load.host, load.port)
        try:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
            with contextlib.suppress(OSError):
                await reader.read()
        finally:
            writer.transport.abort()

    await load.crowd(1500, once)


async def handshakes(load: Load) -> None:
    """Connect and leave, as often as possible."""

    async def once() -> None:
        async with connected(load.target):
            pass

    await load.crowd(50, once)


async def slow_bodies(load: Load) -> None:
    """Announce a body, and send it byte by byte, on many streams of many connections."""

    async def once() -> None:
        async with connected(load.target) as connection:
            streams = [connection.open(ENROL, "x") for _ in range(30)]
            await connection.send(*(opening for _, opening in streams))
            await connection.send(*(frame(DATA, 0, number, message(bytes(4000))[:5]) for number, _ in streams))
            while not connection.told_to_go():
                await connection.send(*(frame(DATA, 0, number, b"\0") for number, _ in streams))
                await asyncio.sleep(0.5)

    await load.crowd(100, once)


async def calls_of_many_addresses(load: Load) -> None:
    """As many calls as can be open at once, waiting for their bodies: each address may have a few connections."""
    sources = itertools.cycle(f"127.0.9.{number}" for number in range(1, 61))

    async def once() -> None:
        async with connected(load.target, next(sources)) as connection:
            await connection.send(*(connection.open(ENROL, "x")[1] for _ in range(32)))
            await connection.closed

    await load.crowd(900, once)


async def slow_headers(load: Load) -> None:
    """A block of headers that does not end: a byte a time in frames of its own."""

    async def once() -> None:
        async with connected(load.target) as connection:
            block = headers(INFO, "x" * 4000)
            await connection.send(frame(HEADERS, 0, 1, block[:1]))
            for each in block[1:]:
                await connection.send(frame(9, 0, 1, bytes([each])))
                await asyncio.sleep(0.05)

    await load.crowd(100, once)


async def large_headers(load: Load) -> None:
    """A megabyte of headers for one call."""

    async def once() -> None:
        async with connected(load.target) as connection:
            piece = b"\0" + b"\x01x" + b"\x7f\x81\x7f" + b"y" * 16_256
            await connection.send(frame(HEADERS, 0, 1, headers(INFO, None)))
            for _ in range(64):
                await connection.send(frame(9, 0, 1, piece))

    await load.crowd(50, once)


# -- by whoever has a token, or has none -------------------------------------------------------------------------------


def frames_without_end(make: Callable[[Load, Connection], bytes], number: int) -> Attack:
    """Frames as fast as they are taken, on so many connections."""

    async def attack(load: Load) -> None:
        async def once() -> None:
            async with connected(load.target) as connection:
                while not connection.told_to_go() and not load.is_over:
                    await connection.send(make(load, connection))
                    load.seen["sent"] += 1
                    await asyncio.sleep(0)

        await load.crowd(number, once)

    return attack


def _resets(load: Load, connection: Connection) -> bytes:
    said = b""
    for _ in range(50):
        number, opening = connection.open(INFO, load.target.token)
        said += opening + frame(RST_STREAM, 0, number, CANCEL)
    return said


def _pings(load: Load, connection: Connection) -> bytes:
    return frame(PING, 0, 0, b"12345678") * 100


def _settings(load: Load, connection: Connection) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65_535)) * 100


def _empty_data(load: Load, connection: Connection) -> bytes:
    said = b""
    if not getattr(connection, "opened", 0):
        connection.opened, said = connection.open(INFO, load.target.token)  # type: ignore[attr-defined]
    return said + frame(DATA, 0, connection.opened) * 100  # type: ignore[attr-defined]


def _windows(load: Load, connection: Connection) -> bytes:
    return frame(8, 0, 0, struct.pack("!I", 1)) * 100


def _headers(load: Load, connection: Connection) -> bytes:
    said = headers(INFO, load.target.token, **{f"x_{number}": "y" for number in range(300)})
    return b"".join(frame(HEADERS, END_HEADERS | 1, connection.open(INFO)[0], said) for _ in range(3))


# -- a stolen guest ----------------------------------------------------------------------------------------------------


async def answers(load: Load) -> None:
    """Answer with the body that was given, 16 calls open on four connections, as the limits allow."""
    body, rpc = base64.b64decode(load.words["body"]), load.words["rpc"]
    await load.calls(f"{ANSWER}{rpc}", body, connections=4, at_once=4, token=load.target.token)


async def polls(load: Load) -> None:
    """Poll and hang up, three at a time, as the limits allow: each begins a poll at Temporal, too."""
    await load.calls(POLL, b"", connections=3, at_once=1, token=load.target.token, seconds=0.02)


async def new_connections_of_a_guest(load: Load) -> None:
    """Connect, call once, leave: each call has a handshake of its own, and eight are open, as the limits allow."""

    async def once() -> None:
        async with connected(load.target) as connection:
            number, opening = connection.open(INFO, load.target.token)
            await connection.send(opening, frame(DATA, END_STREAM, number, message(b"")))
            while not connection.ended(number) and not connection.told_to_go():  # noqa: ASYNC110 - frames come when they come
                await asyncio.sleep(0.002)

    await load.crowd(8, once)


async def large_answers(load: Load) -> None:
    """2 MB each, over many connections."""
    await load.calls(f"{ANSWER}RespondActivityTaskCompleted", bytes(LARGE), connections=MANY, at_once=AT_ONCE,
                     token=load.target.token)  # fmt: skip


async def calls_of_a_guest(load: Load) -> None:
    """Small calls, beyond all limits."""
    await load.calls(INFO, b"", connections=MANY, at_once=AT_ONCE, token=load.target.token)


WITHIN_LIMITS = ("answers", "polls", "new_connections_of_a_guest")
ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (large_enrolments, large_calls, medium_enrolments, small_calls, many_connections, half_handshakes,
                 handshakes, calls_of_many_addresses, slow_bodies, slow_headers, large_headers, answers, polls,
                 new_connections_of_a_guest,
                 large_answers, calls_of_a_guest)
} | {
    "resets": frames_without_end(_resets, 8), "pings": frames_without_end(_pings, 20),
    "settings": frames_without_end(_settings, 20), "empty_data": frames_without_end(_empty_data, 8),
    "windows": frames_without_end(_windows, 20), "many_headers": frames_without_end(_headers, 8),
}  # fmt: skip


async def _run(attack: Attack, load: Load) -> None:
    await attack(load)


def main() -> None:
    """Attack."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    said = json.loads(sys.stdin.readline())
    os.nice(10)  # attackers have processors of their own: what they take of ours is not to be measured
    sys.stdout.write("\n")
    sys.stdout.flush()
    load = Load(Target(**said["target"]), said["words"], float(sys.argv[2]))
    asyncio.run(_run(ATTACKS[sys.argv[1]], load))
    sys.stdout.write(", ".join(f"{number} {what}" for what, number in load.seen.most_common(4)) or "nothing")


if __name__ == "__main__":
    main()
