"""Limits of HTTP connections that uvicorn does not have: time for headers and bodies, their size, and how many there are."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive

from api.faults import Fault

HEADER_SECONDS = 10.0  # from the beginning, or from the answer before, to the end of a request's headers
HEADER_BYTES = 64 * 1024
IDLE_SECONDS = 30.0  # without a byte of a body that is still to come, or of an answer that is to be taken
BODY_SECONDS = 60.0  # for a whole body
TICK = 1.0


@dataclass(frozen=True)
class HttpLimits:
    """Connections at once. Of addresses that pass on what others ask (proxies) only the total counts."""

    connections: int = 1000
    of_one_address: int = 200
    proxies: frozenset[str] = frozenset()


class Connections:
    """All connections of a server. Where there are too many, one that has not sent its request yet gives way."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._open: OrderedDict[Any, None] = OrderedDict()
        self._by_address: dict[str, OrderedDict[Any, None]] = {}

    def add(self, each: Any) -> None:
        """A connection came; it may be cut at once."""
        own = self._by_address.setdefault(each.address, OrderedDict())
        own[each] = self._open[each] = None
        if len(own) > self._limits.of_one_address and each.address not in self._limits.proxies:
            _give_way(own)
        if len(self._open) > self._limits.connections:
            most = max(self._by_address.items(), key=lambda item: item[0] not in self._limits.proxies and len(item[1]))
            _give_way(most[1])

    def remove(self, each: Any) -> None:
        """It is gone."""
        self._open.pop(each, None)
        own = self._by_address.get(each.address, OrderedDict())
        own.pop(each, None)
        if not own:
            self._by_address.pop(each.address, None)

    async def keep(self) -> None:
        """For ever: cut those whose time is over."""
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for each in list(self._open):
                if each.is_late(now):
                    each.cut()


def _give_way(among: OrderedDict[Any, None]) -> None:
    """Cut the oldest that waits for its request; the newest where all others are being answered."""
    newest = next(reversed(among))
    next((each for each in among if each is not newest and each.awaits), newest).cut()


class _Limited:
    """Before a protocol of uvicorn's among the bases of a class."""

    counted: Connections
    transport: Any
    client: Any
    cycle: Any
    flow: Any
    address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Count it."""
        super().connection_made(transport)  # type: ignore[misc]
        self.address = self.client[0] if self.client else ""
        self._answered: Any = None
        self._began = self._moved = time.monotonic()
        self._head = 0
        self.counted.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self.counted.remove(self)
        super().connection_lost(exc)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        """See whether it came in time, and not too much."""
        now = self._moved = time.monotonic()
        before = self.cycle
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not before:
            self._began, self._head = now, 0
        elif self._in_headers:
            self._head += len(data)
            if self._head > HEADER_BYTES:
                self.cut()

    @property
    def _in_headers(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def awaits(self) -> bool:
        """Whether its request has not come in whole."""
        return self._in_headers or bool(self.cycle.more_body)

    def is_late(self, now: float) -> bool:
        """Whether a time is over."""
        if self._in_headers:
            if self.cycle is not self._answered:  # an answer has ended since the last look
                self._answered, self._began = self.cycle, now
            return now - self._began > HEADER_SECONDS
        if self.flow.write_paused:
            return now - self._moved > IDLE_SECONDS
        if not self.cycle.more_body:
            self._moved = now
            return False
        return now - self._moved > IDLE_SECONDS or now - self._began > BODY_SECONDS

    def cut(self) -> None:
        """End it."""
        self.transport.abort()


def limited(protocol: type[Any], connections: Connections) -> type[Any]:
    """A protocol of uvicorn's, for either of its parsers, with these limits."""
    return type("Limited", (_Limited, protocol), {"counted": connections})


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body; Fault 413 as soon as it is larger than `limit` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Fault(400, "The request ended early.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise Fault(413, f"The request is larger than {limit} bytes.")
        if not message.get("more_body"):
            return bytes(body)
