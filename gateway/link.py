"""One connection: copied as it is between the outer side and gRPC, and held where nothing may be read from it now."""

import asyncio
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Protocol

from gateway.guest import Guest

if TYPE_CHECKING:  # parties hold connections
    from gateway.party import Party

STRANGER_BYTES = 24 * 1024  # no more is read; TLS and an enrolment take some four thousand
FLUSH_SECONDS = 5.0  # for the other side to take the last bytes
ESTABLISHED = 1  # a TCP connection's state, as Linux numbers them


class Keeper(Protocol):
    """Who knows all connections; see `gateway/front.py`."""

    buffer: memoryview

    def arrived(self, link: "Link") -> None:
        """A connection waits for its turn."""

    def left(self, link: "Link") -> None:
        """A connection is gone."""

    def move(self, link: "Link", guest: Guest | None) -> None:
        """It is this guest's now, or a stranger's."""


class Link(asyncio.BufferedProtocol):
    """One connection. Its own protocol is the outer side's, `Inner` is gRPC's."""

    def __init__(self, front: Keeper) -> None:
        self._front = front
        self._holds: set[str] = set()
        self.outer: asyncio.Transport | None = None
        self.inner: asyncio.Transport | None = None
        self.name = ""
        self.peer = ""
        self.address = ""
        self.guest: Guest | None = None
        self.party: Party | None = None
        self.since = 0.0
        self.deposit = 0.0  # what its address has paid for it, and gets back when it is a guest's
        self.woken = 0.0  # when its party has last let it go on after a rest
        self._received = 0

    # -- asked by the gateway's calls ----------------------------------------------------------------------------------

    def admit(self, guest: Guest) -> None:
        """A call has shown this guest's token."""
        if self.guest != guest and self.outer is not None:
            self._front.move(self, guest)
            self.free("bytes")

    def demote(self) -> None:
        """A call has shown a token that does not count: it is a stranger's again."""
        if self.guest is not None and self.outer is not None:
            self._received = 0
            self._front.move(self, None)

    def spend(self, seconds: float) -> None:
        """A call has cost so much of the processor."""
        if self.party is not None:
            self.party.spend_processor(seconds)

    # -- the outer side ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait until it is this connection's turn."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a server of streams makes
        self.outer = transport
        self.peer, self.address = names_of(transport.get_extra_info("peername"))
        self.since = time.monotonic()
        # asyncio begins to read after this returns, paused or not; so it is paused a moment later, before anything is read
        asyncio.get_running_loop().call_soon(self._wait)

    def _wait(self) -> None:
        if self.outer is not None:
            self.hold("waiting")
            self._front.arrived(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer for all: what is in it is copied at once."""
        return self._front.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what came, if there may be so much of it."""
        if self.guest is None:
            self._received += nbytes
            if self._received > STRANGER_BYTES:
                self.hold("bytes")  # its first call may have a large body: that is read when its token counts
        if self.inner is not None:
            self.inner.write(bytes(self._front.buffer[:nbytes]))
        if self.party is not None:
            self.party.spend_bytes(nbytes)

    def eof_received(self) -> bool:
        """Nothing more will come: what it has asked need not be answered."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self.outer = None
        self._front.left(self)
        close_soon(self.inner)

    def pause_writing(self) -> None:
        """The outer side reads too slowly: take no more from gRPC."""
        if self.inner is not None:
            self.inner.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.inner is not None and not self.inner.is_closing():
            self.inner.resume_reading()

    # -- reading or not ------------------------------------------------------------------------------------------------

    def hold(self, why: str) -> None:
        """Do not read for this reason."""
        self._holds.add(why)
        if self.outer is not None:
            self.outer.pause_reading()

    def free(self, why: str) -> None:
        """The reason is gone; read if there is no other."""
        self._holds.discard(why)
        if not self._holds and self.outer is not None and not self.outer.is_closing():
            self.outer.resume_reading()

    def is_gone(self) -> bool:
        """Whether the other side has hung up. While nothing is read, only the kernel knows."""
        if self.outer is None:
            return True
        state: bytes = self.outer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] != ESTABLISHED

    def is_held(self, why: str) -> bool:
        """Whether it is not read for this reason."""
        return why in self._holds

    def cut(self) -> None:
        """End it at once."""
        if self.outer is not None:
            self.outer.abort()

    def close(self) -> None:
        """End it when what was said is sent."""
        close_soon(self.outer)


class Inner(asyncio.Protocol):
    """gRPC's side of a connection."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self._link.outer is not None:
            self._link.outer.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """gRPC has hung up."""
        self._link.inner = None
        self._link.close()

    def pause_writing(self) -> None:
        """gRPC reads too slowly."""
        self._link.hold("gRPC")

    def resume_writing(self) -> None:
        """It has caught up."""
        self._link.free("gRPC")


def close_soon(transport: asyncio.Transport | None) -> None:
    """Close when what was written is sent, and in any case soon."""
    if transport is not None and not transport.is_closing():
        transport.close()
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, transport.abort)


def names_of(peername: tuple[str, int] | None) -> tuple[str, str]:
    """A peer as gRPC names it, and the address that its connections are counted by: of IPv6, the network."""
    if peername is None:  # it is gone already
        return "", ""
    host, port = peername[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        return f"ipv4:{address}:{port}", str(address)
    return f"ipv6:[{address}]:{port}", str(ipaddress.ip_network((address, 64), strict=False))
