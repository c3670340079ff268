"""Too much of everything: the victim does not notice, and the gateway is afterwards what it was before."""

import asyncio
import contextlib
import resource
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest

from gateway import certificates
from gateway.front import STRANGER_SECONDS, WAITING_SECONDS
from gateway.server import IDENTITY, WORKER
from guest_worker import identity
from tests.redteam.attack_cost import Probe, Use, attacked, checked, forget_peak, probed, use_of
from tests.redteam.hostile import ATTACKS
from tests.redteam.http2 import CANCEL, DATA, PING, PREFACE, RST_STREAM, Connection, connected, frame, message, trusting
from tests.redteam.probe import Target
from tests.redteam.raw_requests import RawRequest, costly
from tests.redteam.scenario import Attacker, Got, Scenario, ask, open_channel
from tests.redteam.stolen_calls import several
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLL, ANSWER = f"{WORKER}PollActivityTaskQueue", f"{WORKER}RespondActivityTaskCompleted"
PROMPT = 8.0  # seconds; after ten the API would answer 503
GROWTH = 60.0  # MiB that the gateway may keep of a flood
LATEST = WAITING_SECONDS + STRANGER_SECONDS + 15  # seconds until a silent stranger is hung up on, on a busy machine
ROOM = 12  # files that it may keep: connections to the records, which it has a pool of, and of honest people


@dataclass
class Spent:
    """What a flood has cost the gateway."""

    grown: float = 0
    peak: float = 0

    def __str__(self) -> str:
        return f"peak +{self.peak:.0f} MiB, kept {max(0, self.grown):.0f} MiB"


async def settled_use(world: World, before: Use) -> Use:
    """What the gateway has when connections that wait for their turn have been ended, 15 s later."""
    for _ in range(150):
        if use_of(world.gateway.pid).files <= before.files + ROOM:
            break
        await asyncio.sleep(0.2)
    return use_of(world.gateway.pid)


@asynccontextmanager
async def bounded(world: World) -> AsyncIterator[Spent]:
    """The gateway's open files return to what they were, and its memory grows within bounds."""
    forget_peak(world.gateway.pid)
    before, spent = use_of(world.gateway.pid), Spent()
    yield spent
    spent.peak = use_of(world.gateway.pid).peak - before.mib
    after = await settled_use(world, before)
    spent.grown = after.mib - before.mib
    assert after.files <= before.files + ROOM
    assert spent.grown < GROWTH
    assert spent.peak < 2 * GROWTH


async def victim_is_prompt(scenario: Scenario) -> float:
    """Seconds that a short call of the victim's takes now."""
    began = time.monotonic()
    await (await ask(scenario.world, scenario.victim.instance_id, "list_databases")).result()
    took = time.monotonic() - began
    assert took < PROMPT
    return took


BEGINNING: list[Use] = []


@pytest.fixture(autouse=True)
def beginning(scenario: Scenario) -> None:
    """What the gateway has before the first flood."""
    if not BEGINNING:
        BEGINNING.append(use_of(scenario.world.gateway.pid))


@pytest.fixture(autouse=True)
def many_files() -> None:
    """A thousand connections are a thousand files of ours, too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(autouse=True)
async def rested() -> None:
    """An attacker that has used up what it may ask has something again."""
    await asyncio.sleep(0.5)


async def polled(channel: grpc.aio.Channel, attacker: Attacker, seconds: float) -> str:
    """One poll: the name of its code."""
    method: Any = channel.unary_unary(POLL)
    metadata = (("authorization", f"Bearer {attacker.known.token}"),)
    try:
        await method(PollActivityTaskQueueRequest().SerializeToString(), metadata=metadata, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def told(codes: Counter[str]) -> str:
    """Codes and how often, in words."""
    return ", ".join(f"{number} {name}" for name, number in codes.most_common())


# -- polls -------------------------------------------------------------------------------------------------------------


async def test_polling_in_a_loop(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, bounded(scenario.world):
        codes: Counter[str] = Counter()
        for _ in range(400):
            codes[await polled(attacker.channel, attacker, 0.003)] += 1
        took = await victim_is_prompt(scenario)
        outcome.got = f"{told(codes)}; the victim's call {took:.2f} s"


@pytest.mark.parametrize("connections", [1, 50])
async def test_500_polls_at_once_on_connections(scenario: Scenario, attacker: Attacker, connections: int) -> None:
    """Three may be open, whatever they come over."""
    async with scenario.attack() as outcome, bounded(scenario.world):
        channels = [open_channel(scenario.world) for _ in range(connections)]
        polls = [polled(channels[number % connections], attacker, 3) for number in range(500)]
        flood = asyncio.gather(*polls)
        await asyncio.sleep(1)
        took = await victim_is_prompt(scenario)
        codes = Counter(await flood)
        await asyncio.gather(*(each.close() for each in channels))
        outcome.got = f"{told(codes)}; the victim's call {took:.2f} s"
        assert codes["OK"] <= 20  # others were refused, or waited in vain for their turn on a connection
        assert codes["RESOURCE_EXHAUSTED"] + codes["UNAVAILABLE"] > 100  # of many connections, the oldest are ended


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [POLL, ANSWER, f"{IDENTITY}Enrol"], ids=["polls", "answers", "enrolments"])
async def test_2000_streams_without_a_body_for(scenario: Scenario, attacker: Attacker, path: str) -> None:
    async with scenario.attack() as outcome, bounded(scenario.world), contextlib.AsyncExitStack() as open_ones:
        connections = []
        for _ in range(12 if path.endswith("Enrol") else 34):  # fewer than the strangers that an address may have
            connection = await open_ones.enter_async_context(connected(scenario.world.gateway))
            streams = [connection.open(path, attacker.known.token) for _ in range(60)]
            await connection.send(*(frame for _, frame in streams))
            connections.append((connection, [number for number, _ in streams]))
        await asyncio.sleep(1)
        took = await victim_is_prompt(scenario)
        ended = sum(
            connection.closed.done() or connection.ended(number)
            for connection, streams in connections
            for number in streams
        )
        outcome.got = f"{ended} of {60 * len(connections)} ended at once; the victim's call {took:.2f} s"
        assert ended > 1700 or path.endswith("Enrol")  # of a stranger's connection, 32 may wait for their bodies


async def test_resetting_5000_streams(scenario: Scenario, attacker: Attacker) -> None:
    """Open and cancel, faster than anybody answers (CVE-2023-44487)."""
    async with scenario.attack() as outcome, bounded(scenario.world):
        sent, connections = 0, 0
        while sent < 5000 and connections < 60:
            connections += 1
            async with connected(scenario.world.gateway) as connection:
                sent += await _reset(connection, attacker, 5000 - sent)
        took = await victim_is_prompt(scenario)
        outcome.got = f"{sent} resets over {connections} connections; the victim's call {took:.2f} s"


async def _reset(connection: Connection, attacker: Attacker, number: int) -> int:
    sent = 0
    with contextlib.suppress(OSError):
        while sent < number:
            frames = [frame for _ in range(50) for frame in _opened_and_cut(connection, attacker)]
            await connection.send(*frames)
            sent += 50
            await asyncio.sleep(0)
    return sent


def _opened_and_cut(connection: Connection, attacker: Attacker) -> tuple[bytes, bytes]:
    number, opening = connection.open(POLL, attacker.known.token)
    return opening, frame(RST_STREAM, 0, number, CANCEL)


async def test_pinging_without_end(scenario: Scenario) -> None:
    async with scenario.attack() as outcome, bounded(scenario.world), connected(scenario.world.gateway) as connection:
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 5000 and not connection.told_to_go():
                await connection.send(frame(PING, 0, 0, b"12345678") * 10)
                sent += 10
                await asyncio.sleep(0.01)
        outcome.got = f"told to go after {sent} pings"
        assert connection.told_to_go()


async def test_sending_headers_of_64_kb(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome, bounded(scenario.world):
        got = await attacker.call("GetSystemInfo", b"", metadata=(("x-much", "y" * 65_536),))
        assert got.code is not grpc.StatusCode.OK
        outcome.got = str(got)


# -- bodies ------------------------------------------------------------------------------------------------------------


async def test_a_body_that_unpacks_to_100_mb(scenario: Scenario, attacker: Attacker) -> None:
    """100 kB on the wire; gRPC stops unpacking where the limit of a message is."""
    async with scenario.attack() as outcome, bounded(scenario.world):
        method: Any = attacker.channel.unary_unary(ANSWER)
        metadata = (("authorization", f"Bearer {attacker.known.token}"),)
        bomb = bytes(100 * 2**20)
        codes: Counter[str] = Counter()
        for _ in range(3):
            try:
                await method(bomb, metadata=metadata, timeout=20, compression=grpc.Compression.Gzip)
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
        took = await victim_is_prompt(scenario)
        outcome.got = f"{told(codes)}; the victim's call {took:.2f} s"
        assert codes == {"RESOURCE_EXHAUSTED": 3}


async def test_being_slow(scenario: Scenario, attacker: Attacker) -> None:
    """All at once, for each is cut some seconds after its turn: a body byte by byte, TCP alone, half a handshake, TLS alone."""
    async with scenario.attack() as outcome, bounded(scenario.world):
        port = scenario.world.gateway.settings.gateway_port
        dripping = asyncio.create_task(_byte_by_byte(scenario, attacker))
        await asyncio.sleep(1)  # behind the crowd it would not get its turn
        silent = [
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting(scenario.world.gateway.ca)) for _ in range(12)
        ]
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
        for _, writer in idle[::2]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        took = await victim_is_prompt(scenario)
        dripped, *waited = await asyncio.gather(dripping, _hung_up(idle), _hung_up(silent))
        outcome.got = f"a body cut after {dripped:.0f} s; hung up on after {waited[0]:.0f} and {waited[1]:.0f} s"
        outcome.got += f"; the victim's call {took:.2f} s"


async def _byte_by_byte(scenario: Scenario, attacker: Attacker) -> float:
    began = time.monotonic()
    async with connected(scenario.world.gateway) as connection:
        number, opening = connection.open(ANSWER, attacker.known.token)
        await connection.send(opening, frame(DATA, 0, number, message(bytes(1000))[:5]))
        while not connection.ended(number):
            assert time.monotonic() - began < 20
            await connection.send(frame(DATA, 0, number, b"\0"))
            await asyncio.sleep(0.2)
    return time.monotonic() - began


async def _hung_up(opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> float:
    began = time.monotonic()
    ends = asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)
    await asyncio.wait_for(ends, LATEST)
    for _, writer in opened:
        writer.close()
    return time.monotonic() - began


# -- strangers ---------------------------------------------------------------------------------------------------------


async def test_3000_calls_of_nobody(scenario: Scenario, attacker: Attacker) -> None:
    """Tokens of instances that are not: each is a question to the records, but they are not kept from others."""
    async with scenario.attack() as outcome, bounded(scenario.world):
        channels = [open_channel(scenario.world) for _ in range(10)]
        strangers = [
            Attacker(
                attacker.known.model_copy(update={"token": f"{uuid4()}.x"}), attacker.instance_id, scenario.world, each
            )
            for each in channels
            for _ in range(300)
        ]
        flood = asyncio.gather(*(each.call("GetSystemInfo", b"") for each in strangers))
        await asyncio.sleep(0.3)
        took = await victim_is_prompt(scenario)
        got: list[Got] = await flood
        await asyncio.gather(*(each.close() for each in channels))
        outcome.got = f"{told(Counter(each.code.name for each in got))}; the victim's call {took:.2f} s"
        assert all(each.code is not grpc.StatusCode.OK for each in got)


async def test_speaking_without_tls(scenario: Scenario) -> None:
    async with scenario.attack() as outcome, bounded(scenario.world):
        reader, writer = await asyncio.open_connection("127.0.0.1", scenario.world.gateway.settings.gateway_port)
        writer.write(PREFACE)
        answer = await asyncio.wait_for(reader.read(), 15)
        writer.close()
        outcome.got = f"hung up on, {len(answer)} bytes"
        assert len(answer) < 10  # an alert of TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["TLS 1.0", "TLS 1.1"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_speaking(scenario: Scenario, version: ssl.TLSVersion) -> None:
    context = trusting(scenario.world.gateway.ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with scenario.attack() as outcome, bounded(scenario.world):
        with pytest.raises((ssl.SSLError, ConnectionResetError)) as refused:
            await asyncio.open_connection("127.0.0.1", scenario.world.gateway.settings.gateway_port, ssl=context)
        outcome.got = repr(refused.value)[:60]


async def test_showing_a_certificate_instead_of_a_token(scenario: Scenario, tmp_path: Path) -> None:
    """The gateway asks for none, and believes none."""
    certificates.make(tmp_path, ["localhost"])
    own = [(tmp_path / name).read_bytes() for name in ("key.pem", "cert.pem")]
    async with scenario.attack() as outcome, bounded(scenario.world):
        trust = grpc.ssl_channel_credentials(scenario.world.gateway.ca.encode(), *own)
        async with grpc.aio.secure_channel(scenario.world.gateway.address, trust) as channel:
            method: Any = channel.unary_unary(POLL)
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await method(b"", timeout=5)
        outcome.got = denied.value.code().name
        assert denied.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_posing_as_the_gateway(scenario: Scenario, tmp_path: Path) -> None:
    """With a certificate of a CA of its own, for the gateway's very address: an honest guest does not speak."""
    certificates.make(tmp_path, ["127.0.0.1", "localhost"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.set_alpn_protocols(["h2"])
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    async with scenario.attack() as outcome, await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        trust = grpc.ssl_channel_credentials(scenario.world.gateway.ca.encode())
        port = server.sockets[0].getsockname()[1]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", trust) as channel:
            method: Any = channel.unary_unary(POLL)
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await method(b"", timeout=5)
        outcome.got = f"{failed.value.code().name}; heard {len(heard)} words"
        assert not heard


# -- what it costs -----------------------------------------------------------------------------------------------------

MOST = 400.0  # MiB that the gateway's process has, whatever strangers send
GIVEN_UP = 10.0  # seconds after which Temporal's SDK asks again; how fast a victim's calls are is for `benchmarks/`
SHARE = 0.3  # of a processor, that one guest may take besides; a fifth is its own by the settings
SECONDS = 3.0
BY = {
    "strangers": "large_enrolments large_calls medium_enrolments small_calls handshakes large_headers slow_bodies",
    "slow strangers": "many_connections half_handshakes slow_headers",
    "strangers of many addresses": "calls_of_many_addresses",
    "frames": "resets pings settings empty_data windows many_headers",
    "a guest": "polls new_connections_of_a_guest large_answers calls_of_a_guest",
}


async def test_every_attack_is_made() -> None:
    assert {name for each in BY.values() for name in each.split()} == set(ATTACKS) - {"answers"}


@pytest.mark.parametrize("group", BY)
async def test_using_the_gateway_up_by(scenario: Scenario, attacker: Attacker, group: str) -> None:
    """A process attacks for some seconds; another measures a guest's calls all the while."""
    async with probed(victim_of(scenario)) as probe:
        attacks = {name: partial(used_up, scenario, attacker, probe, name) for name in BY[group].split()}
        await few_at_a_time(scenario, attacks)


async def test_using_the_gateway_up_with_answers(scenario: Scenario, attacker: Attacker) -> None:
    """Within the limits of one guest: what costs most to look at, over and over, for a task of its own."""
    async with attacker.task() as (task, _), probed(victim_of(scenario)) as probe:
        words = costly(attacker, task)
        attacks = {name: partial(used_up, scenario, attacker, probe, "answers", raw) for name, raw in words.items()}
        await few_at_a_time(scenario, attacks)


async def few_at_a_time(scenario: Scenario, attacks: Mapping[str, Callable[[], Awaitable[str]]]) -> None:
    """A step that is held for more than a minute is given up (`GUEST`); so there is an operation for each few attacks."""
    title, names = scenario.report.case, list(attacks)
    for first in range(0, len(names), 3):
        scenario.report.case = title
        await several(scenario, {name: attacks[name] for name in names[first : first + 3]})


async def used_up(
    scenario: Scenario, attacker: Attacker, probe: Probe, attack: str, raw: RawRequest | None = None
) -> str:
    """What the gateway used during one attack, and how long the victim's calls took."""
    gateway = scenario.world.gateway
    by = Target(gateway.address, gateway.ca, attacker.known.token)
    async with checked(gateway.settings) as checks:
        cost = await attacked(gateway.pid, probe, attack, by, SECONDS, raw)
    calm, p50, p95, worst = part_of(cost.calm, 0.95), *(part_of(cost.took, part) for part in (0.5, 0.95, 1))
    said = f"{cost.peak:.0f} MiB, {cost.files} files, {cost.share * 100:.0f} % of a core; "
    said += f"p95 {calm * 1000:.0f} ms, then {p50 * 1000:.0f}/{p95 * 1000:.0f}/{worst * 1000:.0f} ms; {cost.told}"
    said += f"; an operator's check {max(checks) * 1000:.0f} ms"
    assert cost.peak < MOST, said
    assert worst < GIVEN_UP, said
    if raw is not None or attack in BY["a guest"].split():
        assert cost.peak < cost.before + GROWTH, said
        assert cost.share < cost.calm_share + SHARE, said
    return said


def part_of(took: list[float], part: float) -> float:
    """What this part of the calls took at most."""
    return sorted(took)[min(len(took) - 1, int(len(took) * part))]


def victim_of(scenario: Scenario) -> Target:
    """What the victim calls as."""
    gateway = scenario.world.gateway
    return Target(gateway.address, gateway.ca, identity.require(scenario.victim.guest.settings.paths).token)


async def test_what_is_left_after_all_floods(scenario: Scenario) -> None:
    """Memory that Python keeps for the next time, and nothing else."""
    async with scenario.attack() as outcome:
        before = BEGINNING[0]
        now = await settled_use(scenario.world, before)
        outcome.got = f"{now.files - before.files:+} files, {now.mib - before.mib:+.0f} MiB of {before.mib:.0f}"
        assert now.files <= before.files + ROOM
        assert now.mib - before.mib < 2 * GROWTH
