"""The listening socket: how many connections, and how many bytes of each, get as far as gRPC.

gRPC's core does TLS and buffers what comes in before any code of ours sees a call, and from Python it cannot be told how
many connections to take. So connections are accepted here and copied as they are to the Unix socket on which gRPC
listens. A connection is a *stranger's* until a call on it has shown a token that counts: few of one address, for some
seconds, and for a few kilobytes in all. Afterwards it is its guest's: what all connections of a guest send, and the
processor time that they cost, come out of one budget, and are not read while it is overdrawn.
"""

import asyncio
import ipaddress
import logging
import os
import resource
import shutil
import socket
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

from gateway.budget import Budget
from gateway.guest import Guest
from gateway.settings import GatewaySettings

STRANGER_SECONDS = 15.0  # from accepting a connection to the first call with a token that counts
STRANGER_BYTES = 24 * 1024  # no more is read; TLS and an enrolment take some four thousand
WAITING = 4096  # connections of all strangers whose turn has not come
FLUSH_SECONDS = 5.0  # for the other side to take the last bytes
TICK = 0.1
CHUNK = 16 * 1024  # read at once: a budget is looked at in between
RESERVED_FILES = 256  # of the process, for all else
FILES = 3  # of a connection: its own socket, and the two ends of the one to gRPC
STRANGERS_SHARE = 0.2  # of a processor, for the strangers of one address

log = logging.getLogger(__name__)


class Party:
    """All connections of one guest, or the strangers' of one address, and what they may use."""

    def __init__(self, share: float, bytes_per_second: float = 0) -> None:
        self.links: OrderedDict[Link, None] = OrderedDict()
        self._processor = Budget(share, 2 * share)
        self._bytes = Budget(bytes_per_second, bytes_per_second) if bytes_per_second else None
        self._rests_until = 0.0

    def spend_processor(self, seconds: float) -> None:
        """Count processor time."""
        self._rest(self._processor.spend(seconds))

    def spend_bytes(self, number: int) -> None:
        """Count bytes that came in."""
        if self._bytes is not None:
            self._rest(self._bytes.spend(number))

    @property
    def rests(self) -> float:
        """Seconds for which nothing is read."""
        return max(0.0, self._rests_until - time.monotonic())

    def _rest(self, seconds: float) -> None:
        if seconds <= self.rests:
            return
        self._rests_until = time.monotonic() + seconds
        for each in self.links:
            each.rest(seconds)


class Link(asyncio.BufferedProtocol):
    """One connection. Its own protocol is the outer side's, `Inner` is gRPC's."""

    def __init__(self, front: "Front") -> None:
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
        self.peer, self.address = _names(transport.get_extra_info("peername"))
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
        _close(self.inner)

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

    def rest(self, seconds: float) -> None:
        """Do not read for a while."""
        self.hold("budget")
        asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rested(self) -> None:
        if self.party is None or not self.party.rests:
            self.free("budget")

    def cut(self) -> None:
        """End it at once."""
        if self.outer is not None:
            self.outer.abort()

    def close(self) -> None:
        """End it when what was said is sent."""
        _close(self.outer)


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


class Front:
    """Accepts connections, and knows whose they are."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="coffer-gateway-"))
        self._server: asyncio.Server | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._links: dict[str, Link] = {}
        self._parties: dict[str | Guest, Party] = {}
        self._rates: dict[str, Budget] = {}
        self._strangers: OrderedDict[Link, None] = OrderedDict()
        self._waiting: OrderedDict[str, OrderedDict[Link, None]] = OrderedDict()
        self._waits = 0
        self._number = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._most = max(64, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_FILES) // FILES)
        self.buffer = memoryview(bytearray(CHUNK))
        self.refused = 0

    @property
    def target(self) -> str:
        """Where gRPC is to listen."""
        return f"unix:{self._folder}/gateway"

    def link(self, peer: str) -> Link | None:
        """The connection that gRPC calls by this name; None when it is gone."""
        return self._links.get(peer.removeprefix("unix:"))

    async def start(self) -> None:
        """Listen; OSError when the port is taken."""
        host, port = self._settings.gateway_host, self._settings.gateway_port
        loop = asyncio.get_running_loop()
        # the backlog is also how many are accepted before anybody else has a turn; the kernel may keep more
        self._server = await loop.create_server(lambda: Link(self), host, port, backlog=64)
        for each in self._server.sockets:
            with socket.socket(fileno=os.dup(each.fileno())) as same:
                same.listen(1024)
        self._keeping = asyncio.create_task(self._keep())

    def stop_listening(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """End all connections."""
        self.stop_listening()
        if self._keeping is not None:
            self._keeping.cancel()
        for each in [*self._links.values(), *(link for queue in self._waiting.values() for link in queue)]:
            each.cut()
        shutil.rmtree(self._folder, ignore_errors=True)

    def spend(self, guest: Guest, seconds: float) -> None:
        """Count processor time that a guest's call has cost."""
        party = self._parties.get(guest)
        if party is not None:
            party.spend_processor(seconds)

    # -- asked by connections ------------------------------------------------------------------------------------------

    def arrived(self, link: Link) -> None:
        """A connection waits for its turn; where too many wait, the address with most of them loses its latest."""
        if len(self._links) + self._waits >= self._most:
            self._refuse(link)
            return
        self._waiting.setdefault(link.address, OrderedDict())[link] = None
        self._waits += 1
        if self._waits > WAITING:
            queue = max(self._waiting.values(), key=len)
            self._waits -= 1
            self._refuse(queue.popitem()[0])
        self._start_waiting()

    def _refuse(self, link: Link) -> None:
        self.refused += 1
        link.cut()

    def left(self, link: Link) -> None:
        """A connection is gone."""
        self._links.pop(link.name, None)
        queue = self._waiting.get(link.address)
        if queue is not None and link in queue:
            del queue[link]
            self._waits -= 1
        self._out_of_party(link)
        self._start_waiting()

    def move(self, link: Link, guest: Guest | None) -> None:
        """It is this guest's now, or a stranger's."""
        self._out_of_party(link)
        self._into_party(link, guest)
        party = link.party
        if guest is not None and party is not None and len(party.links) > self._settings.guest_connections:
            next(iter(party.links)).cut()
        self._start_waiting()

    def _out_of_party(self, link: Link) -> None:
        self._strangers.pop(link, None)
        if link.party is not None:
            link.party.links.pop(link, None)
            link.party = None

    def _into_party(self, link: Link, guest: Guest | None) -> None:
        who = guest or link.address
        party = self._parties.get(who)
        if party is None:
            party = self._parties[who] = self._new_party(guest)
        party.links[link] = None
        link.guest, link.party = guest, party
        if guest is None:
            link.since = time.monotonic()
            self._strangers[link] = None
        if party.rests:
            link.rest(party.rests)

    def _new_party(self, guest: Guest | None) -> Party:
        if guest is None:  # each stranger's bytes are counted by themselves: together, one could use up the others'
            return Party(STRANGERS_SHARE)
        return Party(self._settings.guest_processor_share, self._settings.guest_bytes_per_second)

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _start_waiting(self) -> None:
        """Let in whose turn it is: by turns between addresses."""
        for address in list(self._waiting):
            if len(self._strangers) >= self._settings.gateway_strangers:
                return
            queue = self._waiting[address]
            while queue and self._may_start(address):
                self._waits -= 1
                self._start(queue.popitem(last=False)[0])
            if queue:
                self._waiting.move_to_end(address)
            else:
                del self._waiting[address]

    def _may_start(self, address: str) -> bool:
        party = self._parties.get(address)
        if party is not None and (party.rests or len(party.links) >= self._settings.gateway_strangers_per_address):
            return False
        if len(self._strangers) >= self._settings.gateway_strangers:
            return False
        rate = self._settings.gateway_connections_per_second
        return self._rates.setdefault(address, Budget(rate, 2 * rate)).take()

    def _start(self, link: Link) -> None:
        self._number += 1
        link.name = f"{self._folder}/{self._number}"
        self._links[link.name] = link
        self._into_party(link, None)
        task = asyncio.create_task(self._connect(link))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, link: Link) -> None:
        """Connect to gRPC by a name that its calls are known by."""
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.setblocking(False)
            _give_name(inner, link.name)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(inner, f"{self._folder}/gateway")
            made, _ = await loop.create_connection(lambda: Inner(link), sock=inner)
        except OSError as error:
            log.warning("a connection could not be passed on: %s", error)
            inner.close()
            link.cut()
            return
        if link.outer is None:
            made.abort()
            return
        link.inner = made
        link.free("waiting")

    async def _keep(self) -> None:
        """For ever: end strangers whose time is over, let in those whose turn has come, forget who is gone."""
        forgotten = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self._end_late(now)
            self._start_waiting()
            if now - forgotten > 60:
                forgotten = now
                self._parties = {who: each for who, each in self._parties.items() if each.links or each.rests}
                self._rates = {who: each for who, each in self._rates.items() if who in self._parties}
                if self.refused:
                    log.warning("%d connections were refused in the last minute: too many were waiting", self.refused)
                    self.refused = 0

    def _end_late(self, now: float) -> None:
        late = [each for each in self._strangers if now - each.since > STRANGER_SECONDS]
        late += [each for queue in self._waiting.values() for each in queue if now - each.since > STRANGER_SECONDS]
        for each in late:
            each.cut()


def _give_name(unix: socket.socket, name: str) -> None:
    """What the other side sees as the peer's name; the file is not needed for that."""
    unix.bind(name)
    Path(name).unlink()


def _close(transport: asyncio.Transport | None) -> None:
    """Close when what was written is sent, and in any case soon."""
    if transport is not None and not transport.is_closing():
        transport.close()
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, transport.abort)


def _names(peername: tuple[str, int] | None) -> tuple[str, str]:
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
