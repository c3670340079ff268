"""The listening socket before a real gRPC server: what strangers may use, what guests may, and that nobody is locked out."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import pytest

from gateway import certificates, front
from gateway.front import Front
from gateway.guest import Guest
from gateway.server import OPTIONS
from gateway.settings import GatewaySettings
from tests.redteam.http2 import trusting
from tests.temporal import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one loop

LOCAL = (("grpc.use_local_subchannel_pool", 1),)


class Echo(grpc.GenericRpcHandler):
    """Answers with the caller's name. The header `guest` is a token that counts, or `bad`; it is read before the body."""

    def __init__(self, before: Front) -> None:
        self._front = before
        self.cost = 0.0

    def service(self, handler_call_details: "grpc.HandlerCallDetails") -> Any:
        """Every method is the same."""

        async def answer(body: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            link = self._front.link(context.peer())
            assert link is not None
            link.spend(self.cost)
            said = dict(context.invocation_metadata() or ()).get("guest", "")
            if said == "bad":
                link.demote()
            elif said:
                link.admit(Guest(UUID(str(said)), 1))
            await anext(body)
            return link.peer.encode()

        return grpc.stream_unary_rpc_method_handler(answer)


class Stand:
    """A front with gRPC behind it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.front = Front(settings)
        self.echo = Echo(self.front)
        self.ca = settings.gateway_ca.read_text()
        self.port = settings.gateway_port
        self.by_hand: list[asyncio.StreamWriter] = []

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        trust = grpc.ssl_channel_credentials(self.ca.encode())
        return grpc.aio.secure_channel(f"localhost:{self.port}", trust, LOCAL)

    async def tls(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection by hand, closed at the end."""
        return await self._open(ssl=trusting(self.ca))

    async def tcp(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Without TLS."""
        return await self._open()

    async def _open(self, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = self.settings.gateway_host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        reader, writer = await asyncio.open_connection(host, self.port, **more)
        self.by_hand.append(writer)
        return reader, writer


@asynccontextmanager
async def stand(folder: Path, **settings: Any) -> AsyncIterator[Stand]:
    """Run it."""
    certificates.make(folder, ["127.0.0.1", "localhost", "::1"])
    files: dict[str, Any] = {
        "gateway_cert": folder / "cert.pem",
        "gateway_key": folder / "key.pem",
        "gateway_ca": folder / "ca.pem",
    }
    built = Stand(GatewaySettings(gateway_port=free_port(), **files, **settings))
    key, chain = (files[name].read_bytes() for name in ("gateway_key", "gateway_cert"))
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((built.echo,))
    server.add_secure_port(built.front.target, grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    await built.front.start()
    try:
        yield built
    finally:
        for each in built.by_hand:
            each.transport.abort()
        built.front.stop_listening()
        await server.stop(0)
        built.front.close()


async def call(channel: grpc.aio.Channel, guest: str = "", body: bytes = b"", seconds: float = 10) -> bytes:
    """One call."""
    method: Any = channel.unary_unary("/x/y")
    metadata = (("guest", guest),) if guest else ()
    answer: bytes = await method(body, timeout=seconds, metadata=metadata)
    return answer


def guest() -> str:
    """What a new guest says."""
    return str(uuid4())


async def ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Whether the other side hangs up in time."""
    try:
        async with asyncio.timeout(seconds):
            with contextlib.suppress(OSError, ssl.SSLError):
                while await reader.read(65_536):
                    pass
    except TimeoutError:
        return False
    return True


async def test_a_call_is_known_by_its_own_address(tmp_path: Path) -> None:
    async with stand(tmp_path) as there, there.channel() as one, there.channel() as other:
        first, second = await call(one), await call(other)
        assert first.startswith(b"ipv4:127.0.0.1:") and second.startswith(b"ipv4:127.0.0.1:")
        assert (first != second, await call(one) == first) == (True, True)


@pytest.mark.parametrize("sizes", [[50_000], [8_000] * 6, [100] * 600], ids=["large", "medium", "small"])
async def test_a_stranger_has_so_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    """In one message or in many calls: no more is read, and then its time is over. A guest may send as much again."""
    async with stand(tmp_path) as there, there.channel() as stranger, there.channel() as known:
        with monkeypatch.context() as soon, pytest.raises(grpc.aio.AioRpcError):
            soon.setattr(front, "STRANGER_SECONDS", 1.5)
            for size in sizes:
                await call(stranger, body=bytes(size))
        name = guest()
        for size in sizes:
            await call(known, name, bytes(size))


async def test_the_first_call_of_a_guest_may_be_its_largest(tmp_path: Path) -> None:
    """An answer that was kept while the gateway was away."""
    async with stand(tmp_path) as there, there.channel() as known:
        await call(known, guest(), bytes(90_000))


@pytest.mark.parametrize("how", ["tcp", "tls"])
async def test_a_stranger_has_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    async with stand(tmp_path) as there, there.channel() as known:
        await call(known, guest())
        monkeypatch.setattr(front, "STRANGER_SECONDS", 1.0)
        reader, _ = await getattr(there, how)()
        assert await ended(reader, 10)
        assert len(there.front._links) == 1
        await call(known)  # it has been there for longer, and stays


async def test_more_strangers_of_an_address_wait_for_their_turn(tmp_path: Path) -> None:
    async with stand(tmp_path, gateway_strangers_per_address=4) as there:
        held = [await there.tls() for _ in range(4)]
        async with there.channel() as waiting:
            asked = asyncio.create_task(call(waiting))
            await asyncio.sleep(0.5)
            assert not asked.done()
            held[0][1].transport.abort()
            assert await asyncio.wait_for(asked, 5)
        for _, writer in held:
            writer.transport.abort()


async def test_a_stranger_has_its_whole_time_from_its_turn_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it has waited; who waits too long for its turn is hung up on."""
    monkeypatch.setattr(front, "STRANGER_SECONDS", 2.0)
    monkeypatch.setattr(front, "WAITING_SECONDS", 3.0)
    async with stand(tmp_path, gateway_strangers_per_address=1) as there:
        began, after = time.monotonic(), []
        for reader, _ in [await there.tcp() for _ in range(4)]:
            assert await ended(reader, 10)
            after.append(time.monotonic() - began)
        assert after[0] > 1.9 and after[1] > 3.9
        assert after[-1] < 8  # a wait and a turn are five seconds


async def test_one_failure_does_not_end_the_looking_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "STRANGER_SECONDS", 1.0)
    async with stand(tmp_path) as there:
        monkeypatch.setattr(there.front, "_strangers", None)
        await asyncio.sleep(0.3)
        monkeypatch.undo()
        monkeypatch.setattr(front, "STRANGER_SECONDS", 1.0)
        reader, _ = await there.tcp()
        assert await ended(reader, 10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a machine vanish")
async def test_a_guest_whose_machine_vanished_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word, as after a power cut: its open poll must not take a task from the worker that is there again."""
    monkeypatch.setattr(front, "SILENT_SECONDS", 3)
    async with stand(tmp_path) as there, there.channel() as known:
        await call(known, guest())
        _, writer = await asyncio.open_connection("127.0.0.1", there.port, ssl=trusting(there.ca),
                                                  local_addr=("127.0.9.9", 0))  # fmt: skip
        await linked(there, 2)
        with vanished("127.0.9.9"):
            await linked(there, 1)  # long before gRPC's own ping, after 30 s
        await call(known)
        writer.transport.abort()


@contextlib.contextmanager
def vanished(address: str) -> Iterator[None]:
    """Nothing from there arrives any more."""
    chain = f"chain incoming {{\ntype filter hook input priority 0\nip saddr {address} drop\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=f"table ip coffer_vanished {{\n{chain}}}\n", text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "ip", "coffer_vanished"], check=True)


async def linked(there: Stand, number: int) -> None:
    """Wait until there are so many connections."""
    async with asyncio.timeout(9):
        while len(there.front._links) != number:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)


async def test_who_has_hung_up_gets_no_turn(tmp_path: Path) -> None:
    """Guests that gave up waiting and dial again: what they have left behind in the queue costs nothing, and no time."""
    async with stand(tmp_path, gateway_strangers_per_address=1) as there:
        _, first = await there.tls()
        gave_up = [await there.tcp() for _ in range(100)]
        for number, (_, writer) in enumerate(gave_up):
            writer.write(b"\x16\x03\x01\x02\x00\x01")
            writer.transport.abort() if number % 2 else writer.close()
        async with there.channel() as back:
            asked = asyncio.create_task(call(back, guest()))
            await asyncio.sleep(0.5)
            assert not asked.done()
            first.transport.abort()
            await asked
        assert there.front._number == 2
        assert len(there.front._waiting) == 0


async def test_guests_do_not_count_as_strangers(tmp_path: Path) -> None:
    """A fleet behind one address: all come in, though few may be strangers at once, and all stay."""
    async with stand(tmp_path, gateway_strangers_per_address=4) as there:
        channels = [there.channel() for _ in range(60)]
        await asyncio.gather(*(call(each, guest(), seconds=20) for each in channels))
        assert (len(there.front._links), len(there.front._strangers)) == (60, 0)
        await asyncio.gather(*(each.close() for each in channels))


async def test_one_more_connection_of_a_guest_ends_its_oldest(tmp_path: Path) -> None:
    async with stand(tmp_path, guest_connections=3) as there:
        name, channels = guest(), [there.channel() for _ in range(5)]
        peers = [await call(each, name) for each in channels]
        await asyncio.sleep(0.2)
        assert {link.peer.encode() for link in there.front._links.values()} == set(peers[2:])
        await asyncio.gather(*(each.close() for each in channels))


async def test_who_connects_over_and_over_keeps_its_own_address_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many guests pay nothing for that; one guest does as soon as it has made twice as many as it may have."""
    monkeypatch.setattr(front, "EXCESS_COST", 10.0)
    async with stand(tmp_path, guest_connections=3, guest_connections_per_second=0.01) as there:
        for name in [*(guest() for _ in range(20)), *["00000000-0000-4000-8000-000000000001"] * 6]:
            async with there.channel() as once:
                await call(once, name)
        address = there.front._parties["127.0.0.1"]
        assert not address.rests
        async with there.channel() as once:
            await call(once, name)
        assert address.rests > 0.5
        async with there.channel() as waiting:
            asked = asyncio.create_task(call(waiting, guest()))
            await asyncio.sleep(0.3)
            assert not asked.done()
            assert await asyncio.wait_for(asked, 10)


async def test_strangers_of_many_addresses_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those who turn out to be guests: what their connections might have brought is given back."""
    monkeypatch.setattr(front, "ALL_STRANGERS_SHARE", 0.001)
    monkeypatch.setattr(front, "ALL_STRANGERS_BURST", 0.1)
    async with stand(tmp_path) as there:
        for _ in range(20):
            async with there.channel() as once:
                await call(once, guest())
        sources = [(f"127.0.8.{number}", 0) for number in range(1, 21)]
        silent = [await asyncio.open_connection("127.0.0.1", there.port, local_addr=each) for each in sources]
        async with asyncio.timeout(5):
            while len(there.front._strangers) + len(there.front._waiting) < 20:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.05)
        assert 4 <= len(there.front._strangers) <= 7
        for _, writer in silent:
            writer.transport.abort()


async def test_all_connections_of_a_guest_that_has_rested_are_read_again(tmp_path: Path) -> None:
    """One after the other, the one that has waited longest first: none is forgotten."""
    async with stand(tmp_path, guest_bytes_per_second=60_000) as there:
        name, channels = guest(), [there.channel() for _ in range(6)]
        for each in channels:
            await call(each, name)
        await asyncio.gather(*(call(each, name, bytes(20_000)) for each in channels))
        await asyncio.gather(*(call(each, name) for each in channels))
        await asyncio.gather(*(each.close() for each in channels))


async def test_who_is_known_no_more_is_a_stranger_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stand(tmp_path) as there, there.channel() as once:
        peer = await call(once, guest())
        assert not there.front._strangers
        monkeypatch.setattr(front, "STRANGER_SECONDS", 1.0)
        await call(once, "bad")
        assert [each.peer.encode() for each in there.front._strangers] == [peer]
        await linked(there, 0)


@pytest.mark.parametrize("kind", ["stranger", "guest"])
async def test_who_has_used_up_its_processor_time_is_not_read(tmp_path: Path, kind: str) -> None:
    """Its own calls become slow; those of others do not."""
    async with (
        stand(tmp_path, guest_processor_share=0.2) as there,
        there.channel() as hostile,
        there.channel() as other,
    ):
        await call(other, guest())
        await call(hostile, guest() if kind == "guest" else "")
        there.echo.cost = 0.3  # at a fifth of a processor: it rests for more than a second
        await call(hostile)
        there.echo.cost = 0
        began = time.monotonic()
        resting = asyncio.create_task(call(hostile))
        await call(other)
        assert not resting.done()
        await resting
        assert time.monotonic() - began > 0.6


async def test_a_guest_that_sends_too_much_is_read_slowly(tmp_path: Path) -> None:
    """All its connections count together."""
    async with stand(tmp_path, guest_bytes_per_second=40_000) as there:
        name, channels = guest(), [there.channel() for _ in range(2)]
        for each in channels:
            await call(each, name)
        began = time.monotonic()
        for number in range(4):
            await call(channels[number % 2], name, bytes(30_000))
        assert time.monotonic() - began > 1.0
        await asyncio.gather(*(each.close() for each in channels))


async def test_who_floods_the_queue_loses_its_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another address is let in at once, and what waits is bounded."""
    monkeypatch.setattr(front, "WAITING", 50)
    async with stand(tmp_path, gateway_strangers_per_address=2) as there:
        crowd = [await there.tcp() for _ in range(200)]
        await asyncio.sleep(0.3)
        assert len(there.front._waiting) <= 50
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port, ssl=trusting(there.ca),
                                                       local_addr=("127.0.0.9", 0))  # fmt: skip
        assert not reader.at_eof()
        for each in (writer, *(one for _, one in crowd)):
            each.transport.abort()
