"""The listening socket: how many connections, and how many bytes of each, get as far as gRPC.

gRPC's core does TLS and buffers what comes in before any code of ours sees a call, and from Python it cannot be told how
many connections to take. So connections are accepted here and copied as they are to the Unix socket on which gRPC
listens. A connection is a *stranger's* until a call on it has shown a token that counts: few of one address, for some
seconds, and for a few kilobytes in all. Afterwards it is its guest's: what all connections of a guest send, and the
processor time that they cost, come out of one token bucket, and are not read while it is overdrawn.

What a new connection costs is its address's to pay, and is given back when it turns out to be a guest's; but only so many
of one guest: who connects over and over can be stopped at its address alone.

Our own health checks come from a loopback address of their own (`contract.checks`), which no other machine can
send from: they wait for nobody, within the budget of an address.

The loop has one thread. Whatever may come in thousands is done in small pieces, so that others have their turn in between.
"""

import asyncio
import logging
import os
import resource
import shutil
import socket
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

from contract.checks import CHECKS_FROM, listening
from gateway.guest import Guest
from gateway.link import Inner, Link
from gateway.party import Party
from gateway.settings import GatewaySettings
from gateway.token_bucket import TokenBucket
from gateway.waiting_room import ENDED, WaitingRoom

WAITING_SECONDS = 15.0  # from accepting a connection to its turn
STRANGER_SECONDS = 15.0  # from its turn to the first call with a token that counts
WAITING = 4096  # connections of all strangers whose turn has not come
SILENT_SECONDS = 15  # a machine that acknowledges nothing for so long is gone: its poll must not swallow a task
TICK = 0.1
FORGET_EVERY = 60.0  # seconds
CHUNK = 4 * 1024  # read at once: a token bucket is looked at in between
ACCEPTED = 8  # connections at once
RESERVED_FILES = 256  # of the process, for all else
FILES = 3  # of a connection: its own socket, and the two ends of the one to gRPC
STRANGERS_SHARE = 0.2  # of a processor, for the strangers of one address
ALL_STRANGERS_SHARE, ALL_STRANGERS_BURST = 0.5, 0.2  # the same, for the strangers of all addresses
STRANGERS_BYTES = 512 * 1024  # a second, of the strangers of one address: more than its connections need
CONNECTION_COST = 0.004  # seconds of processor time: TLS, and what gRPC makes of it
CALLS_COST = 0.016  # what may come with it: known too late where many addresses connect at once
EXCESS_COST = 0.05  # of one more connection than a guest may make: calls come with it before anybody can stop them

log = logging.getLogger(__name__)


class Front:
    """Accepts connections, and knows whose they are."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="coffer-gateway-"))
        self._server: asyncio.Server | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._links: dict[str, Link] = {}
        self._parties: dict[str | Guest, Party] = {}
        self._rates: dict[str, TokenBucket] = {}
        self._all_strangers = TokenBucket(ALL_STRANGERS_SHARE, ALL_STRANGERS_BURST)
        self._strangers: OrderedDict[Link, None] = OrderedDict()
        self._waiting = WaitingRoom()
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
        hosts, port = listening(self._settings.gateway_host), self._settings.gateway_port
        loop = asyncio.get_running_loop()
        # the backlog is also how many are accepted before anybody else has a turn; the kernel may keep more
        self._server = await loop.create_server(lambda: Link(self), hosts, port, backlog=ACCEPTED)
        for each in self._server.sockets:
            with socket.socket(fileno=os.dup(each.fileno())) as same:
                same.listen(1024)
                _notice_silence(same)
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
        for each in [*self._links.values(), *self._waiting]:
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
        if len(self._links) + len(self._waiting) >= self._most:
            self._refuse(link)
            return
        self._waiting.add(link)
        if len(self._waiting) > WAITING:
            self._refuse(self._waiting.remove_latest_of_most())
        self._start_waiting()

    def _refuse(self, link: Link) -> None:
        self.refused += 1
        link.cut()

    def left(self, link: Link) -> None:
        """A connection is gone."""
        self._links.pop(link.name, None)
        self._waiting.remove(link)
        self._out_of_party(link)
        self._start_waiting()

    def move(self, link: Link, guest: Guest | None) -> None:
        """It is this guest's now, or a stranger's."""
        self._out_of_party(link)
        self._into_party(link, guest)
        party = link.party
        if guest is not None and party is not None:
            self._settle(link, party)
            if len(party.links) > self._settings.guest_connections:
                next(iter(party.links)).cut()
        self._start_waiting()

    def _settle(self, link: Link, guests: Party) -> None:
        """It is no stranger's connection: its address has what it paid back, unless the guest has made too many."""
        deposit, link.deposit = link.deposit, 0.0
        address = self._parties.get(link.address)
        if deposit:
            self._all_strangers.spend(-CALLS_COST)
        if deposit and address is not None:
            address.spend_processor(-deposit if guests.connections.take() else EXCESS_COST)

    def _out_of_party(self, link: Link) -> None:
        self._strangers.pop(link, None)
        if link.party is not None:
            link.party.links.pop(link, None)
            link.party = None
            link.free("bucket")

    def _into_party(self, link: Link, guest: Guest | None) -> None:
        who = guest or link.address
        party = self._parties.get(who)
        if party is None:
            party = self._parties[who] = self._new_party(guest, link.address)
        party.links[link] = None
        link.guest, link.party = guest, party
        if guest is None:
            link.since = time.monotonic()
            self._strangers[link] = None
        if party.rests:
            link.hold("bucket")

    def _new_party(self, guest: Guest | None, address: str) -> Party:
        if guest is None:
            shared = None if address == CHECKS_FROM else self._all_strangers
            return Party(STRANGERS_SHARE, STRANGERS_BYTES, shared=shared)
        settings = self._settings
        connections = TokenBucket(settings.guest_connections_per_second, 2 * settings.guest_connections)
        return Party(settings.guest_processor_share, settings.guest_bytes_per_second, connections=connections)

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _start_waiting(self) -> None:
        """Let in whose turn it is: by turns between addresses, but for our own checks."""
        self._let_in(CHECKS_FROM)
        for address in self._waiting.addresses():
            if len(self._strangers) >= self._settings.gateway_strangers:
                return
            self._let_in(address)

    def _let_in(self, address: str) -> None:
        while (link := self._waiting.first_of(address)) is not None and self._may_start(address):
            self._waiting.remove(link)
            self._start(link)
        self._waiting.end_turn(address)

    def _may_start(self, address: str) -> bool:
        party = self._parties.get(address)
        if party is not None and (party.rests or len(party.links) >= self._settings.gateway_strangers_per_address):
            return False
        full = len(self._strangers) >= self._settings.gateway_strangers or self._all_strangers.spend(0)
        if full and address != CHECKS_FROM:
            return False
        rate = self._settings.gateway_connections_per_second
        return self._rates.setdefault(address, TokenBucket(rate, 2 * rate)).take()

    def _start(self, link: Link) -> None:
        self._number += 1
        link.name = f"{self._folder}/{self._number}"
        self._links[link.name] = link
        self._into_party(link, None)
        link.deposit = CONNECTION_COST
        self._all_strangers.spend(CALLS_COST)
        link.spend(CONNECTION_COST)
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
            try:
                self._end_late(now)
                self._start_waiting()
                if now - forgotten > FORGET_EVERY:
                    forgotten = now
                    self._forget()
            except Exception:  # without this loop silent strangers stay, and nobody gets a turn
                log.exception("connections could not be looked after")

    def _forget(self) -> None:
        self._parties = {who: each for who, each in self._parties.items() if each.links or each.rests}
        self._rates = {who: each for who, each in self._rates.items() if who in self._parties}
        if self.refused:
            log.warning("%d connections were refused in the last minute: too many were waiting", self.refused)
            self.refused = 0

    def _end_late(self, now: float) -> None:
        late = [each for each in self._strangers if now - each.since > STRANGER_SECONDS]
        late += [each for each in self._waiting if now - each.since > WAITING_SECONDS]
        for each in late[:ENDED]:
            each.cut()


def _notice_silence(listening: socket.socket) -> None:
    """Have the kernel end accepted connections whose machine has vanished. It asks; that costs no process any time."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        listening.setsockopt(socket.IPPROTO_TCP, option, SILENT_SECONDS // 3)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)  # where something was sent


def _give_name(unix: socket.socket, name: str) -> None:
    """What the other side sees as the peer's name; the file is not needed for that."""
    unix.bind(name)
    Path(name).unlink()
