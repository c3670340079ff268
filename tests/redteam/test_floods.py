"""Too much of everything: the victim does not notice, and the gateway is afterwards what it was before."""

import asyncio
import base64
import contextlib
import json as jsons
import resource
import ssl
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest

from gateway import certificates
from gateway.server import IDENTITY, WORKER
from guest_worker import identity
from tests.redteam.field import Field, Got, Thief, ask, clear, open_channel
from tests.redteam.hostile import ATTACKS
from tests.redteam.http2 import CANCEL, DATA, PING, PREFACE, RST_STREAM, Connection, connected, frame, message, tls
from tests.redteam.probe import Target
from tests.redteam.puppet import (
    Task,
    Word,
    application,
    canceled,
    completed,
    failed,
    heartbeat,
    json,
    many,
    piece,
    seal,
    sealed_json,
    several,
)
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLL, ANSWER = f"{WORKER}PollActivityTaskQueue", f"{WORKER}RespondActivityTaskCompleted"
PROMPT = 2.0  # seconds; a short call of the victim's takes some hundredths
GROWTH = 60.0  # MiB that the gateway may keep of a flood
ROOM = 12  # files that it may keep: connections to the records, which it has a pool of, and of honest people


@dataclass(frozen=True)
class Use:
    """What the gateway's process has now, as the kernel says."""

    mib: float
    peak: float
    files: int


def use_of(world: World) -> Use:
    """Look at the process; its peak counts from `forget_peak` on."""
    assert world.gateway.process is not None
    folder = Path(f"/proc/{world.gateway.process.pid}")
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    kib = {name: int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")}
    return Use(kib["VmRSS"] / 1024, kib["VmHWM"] / 1024, len(list((folder / "fd").iterdir())))


def forget_peak(world: World) -> None:
    """Let the peak begin anew."""
    assert world.gateway.process is not None
    Path(f"/proc/{world.gateway.process.pid}/clear_refs").write_text("5")


@dataclass
class Spent:
    """What a flood has cost the gateway."""

    grown: float = 0
    peak: float = 0

    def __str__(self) -> str:
        return f"peak +{self.peak:.0f} MiB, kept {max(0, self.grown):.0f} MiB"


@asynccontextmanager
async def bounded(world: World) -> AsyncIterator[Spent]:
    """The gateway's open files return to what they were, and its memory grows within bounds."""
    forget_peak(world)
    before, spent = use_of(world), Spent()
    yield spent
    spent.peak = use_of(world).peak - before.mib
    for _ in range(100):
        if use_of(world).files <= before.files + ROOM:
            break
        await asyncio.sleep(0.2)
    after = use_of(world)
    spent.grown = after.mib - before.mib
    assert after.files <= before.files + ROOM
    assert spent.grown < GROWTH
    assert spent.peak < 2 * GROWTH


async def victim_is_prompt(field: Field) -> float:
    """Seconds that a short call of the victim's takes now."""
    began = time.monotonic()
    await (await ask(field.world, field.victim.instance_id, "list_databases")).result()
    took = time.monotonic() - began
    assert took < PROMPT
    return took


BEGINNING: list[Use] = []


@pytest.fixture(autouse=True)
def beginning(field: Field) -> None:
    """What the gateway has before the first flood."""
    if not BEGINNING:
        BEGINNING.append(use_of(field.world))


@pytest.fixture(autouse=True)
def many_files() -> None:
    """A thousand connections are a thousand files of ours, too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(autouse=True)
async def rested() -> None:
    """A thief that has used up what it may ask has something again."""
    await asyncio.sleep(0.5)


async def polled(channel: grpc.aio.Channel, thief: Thief, seconds: float) -> str:
    """One poll: the name of its code."""
    method: Any = channel.unary_unary(POLL)
    metadata = (("authorization", f"Bearer {thief.known.token}"),)
    try:
        await method(PollActivityTaskQueueRequest().SerializeToString(), metadata=metadata, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def told(codes: Counter[str]) -> str:
    """Codes and how often, in words."""
    return ", ".join(f"{number} {name}" for name, number in codes.most_common())


# -- polls -------------------------------------------------------------------------------------------------------------


async def test_polling_in_a_loop(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, bounded(field.world):
        codes: Counter[str] = Counter()
        for _ in range(400):
            codes[await polled(thief.channel, thief, 0.003)] += 1
        took = await victim_is_prompt(field)
        loot.got = f"{told(codes)}; the victim's call {took:.2f} s"


@pytest.mark.parametrize("connections", [1, 50])
async def test_500_polls_at_once_on_connections(field: Field, thief: Thief, connections: int) -> None:
    """Three may be open, whatever they come over."""
    async with field.attack() as loot, bounded(field.world):
        channels = [open_channel(field.world) for _ in range(connections)]
        polls = [polled(channels[number % connections], thief, 3) for number in range(500)]
        flood = asyncio.gather(*polls)
        await asyncio.sleep(1)
        took = await victim_is_prompt(field)
        codes = Counter(await flood)
        await asyncio.gather(*(each.close() for each in channels))
        loot.got = f"{told(codes)}; the victim's call {took:.2f} s"
        assert codes["OK"] <= 20  # others were refused, or waited in vain for their turn on a connection
        assert codes["RESOURCE_EXHAUSTED"] + codes["UNAVAILABLE"] > 100  # of many connections, the oldest are ended


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [POLL, ANSWER, f"{IDENTITY}Enrol"], ids=["polls", "answers", "enrolments"])
async def test_2000_streams_without_a_body_for(field: Field, thief: Thief, path: str) -> None:
    async with field.attack() as loot, bounded(field.world), contextlib.AsyncExitStack() as open_ones:
        connections = []
        for _ in range(12 if path.endswith("Enrol") else 34):  # fewer than the strangers that an address may have
            connection = await open_ones.enter_async_context(connected(field.world))
            streams = [connection.open(path, thief.known.token) for _ in range(60)]
            await connection.send(*(frame for _, frame in streams))
            connections.append((connection, [number for number, _ in streams]))
        await asyncio.sleep(1)
        took = await victim_is_prompt(field)
        ended = sum(
            connection.closed.done() or connection.ended(number)
            for connection, streams in connections
            for number in streams
        )
        loot.got = f"{ended} of {60 * len(connections)} ended at once; the victim's call {took:.2f} s"
        assert ended > 1700 or path.endswith("Enrol")  # of a stranger's connection, 32 may wait for their bodies


async def test_resetting_5000_streams(field: Field, thief: Thief) -> None:
    """Open and cancel, faster than anybody answers (CVE-2023-44487)."""
    async with field.attack() as loot, bounded(field.world):
        sent, connections = 0, 0
        while sent < 5000 and connections < 60:
            connections += 1
            async with connected(field.world) as connection:
                sent += await _reset(connection, thief, 5000 - sent)
        took = await victim_is_prompt(field)
        loot.got = f"{sent} resets over {connections} connections; the victim's call {took:.2f} s"


async def _reset(connection: Connection, thief: Thief, number: int) -> int:
    sent = 0
    with contextlib.suppress(OSError):
        while sent < number:
            frames = [frame for _ in range(50) for frame in _opened_and_cut(connection, thief)]
            await connection.send(*frames)
            sent += 50
            await asyncio.sleep(0)
    return sent


def _opened_and_cut(connection: Connection, thief: Thief) -> tuple[bytes, bytes]:
    number, opening = connection.open(POLL, thief.known.token)
    return opening, frame(RST_STREAM, 0, number, CANCEL)


async def test_pinging_without_end(field: Field) -> None:
    async with field.attack() as loot, bounded(field.world), connected(field.world) as connection:
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 5000 and not connection.told_to_go():
                await connection.send(frame(PING, 0, 0, b"12345678") * 10)
                sent += 10
                await asyncio.sleep(0.01)
        loot.got = f"told to go after {sent} pings"
        assert connection.told_to_go()


async def test_sending_headers_of_64_kb(field: Field, thief: Thief) -> None:
    async with field.attack() as loot, bounded(field.world):
        got = await thief.call("GetSystemInfo", b"", metadata=(("x-much", "y" * 65_536),))
        assert got.code is not grpc.StatusCode.OK
        loot.got = str(got)


# -- bodies ------------------------------------------------------------------------------------------------------------


async def test_a_body_that_unpacks_to_100_mb(field: Field, thief: Thief) -> None:
    """100 kB on the wire; gRPC stops unpacking where the limit of a message is."""
    async with field.attack() as loot, bounded(field.world):
        method: Any = thief.channel.unary_unary(ANSWER)
        metadata = (("authorization", f"Bearer {thief.known.token}"),)
        bomb = bytes(100 * 2**20)
        codes: Counter[str] = Counter()
        for _ in range(3):
            try:
                await method(bomb, metadata=metadata, timeout=20, compression=grpc.Compression.Gzip)
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
        took = await victim_is_prompt(field)
        loot.got = f"{told(codes)}; the victim's call {took:.2f} s"
        assert codes == {"RESOURCE_EXHAUSTED": 3}


async def test_being_slow(field: Field, thief: Thief) -> None:
    """All at once, for each is cut after ten seconds: a body byte by byte, TCP alone, half a handshake, TLS alone."""
    async with field.attack() as loot, bounded(field.world):
        port = field.world.gateway.settings.gateway_port
        dripping = asyncio.create_task(_byte_by_byte(field, thief))
        await asyncio.sleep(1)  # behind the crowd it would not get its turn
        silent = [await asyncio.open_connection("127.0.0.1", port, ssl=tls(field.world)) for _ in range(12)]
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
        for _, writer in idle[::2]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        took = await victim_is_prompt(field)
        dripped, *waited = await asyncio.gather(dripping, _hung_up(idle), _hung_up(silent))
        loot.got = f"a body cut after {dripped:.0f} s; hung up on after {waited[0]:.0f} and {waited[1]:.0f} s"
        loot.got += f"; the victim's call {took:.2f} s"


async def _byte_by_byte(field: Field, thief: Thief) -> float:
    began = time.monotonic()
    async with connected(field.world) as connection:
        number, opening = connection.open(ANSWER, thief.known.token)
        await connection.send(opening, frame(DATA, 0, number, message(bytes(1000))[:5]))
        while not connection.ended(number):
            assert time.monotonic() - began < 20
            await connection.send(frame(DATA, 0, number, b"\0"))
            await asyncio.sleep(0.2)
    return time.monotonic() - began


async def _hung_up(opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> float:
    began = time.monotonic()
    ends = asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)
    await asyncio.wait_for(ends, 25)
    for _, writer in opened:
        writer.close()
    return time.monotonic() - began


# -- strangers ---------------------------------------------------------------------------------------------------------


async def test_3000_calls_of_nobody(field: Field, thief: Thief) -> None:
    """Tokens of instances that are not: each is a question to the records, but they are not kept from others."""
    async with field.attack() as loot, bounded(field.world):
        channels = [open_channel(field.world) for _ in range(10)]
        strangers = [
            Thief(thief.known.model_copy(update={"token": f"{uuid4()}.x"}), thief.instance_id, field.world, each)
            for each in channels
            for _ in range(300)
        ]
        flood = asyncio.gather(*(each.call("GetSystemInfo", b"") for each in strangers))
        await asyncio.sleep(0.3)
        took = await victim_is_prompt(field)
        got: list[Got] = await flood
        await asyncio.gather(*(each.close() for each in channels))
        loot.got = f"{told(Counter(each.code.name for each in got))}; the victim's call {took:.2f} s"
        assert all(each.code is not grpc.StatusCode.OK for each in got)


async def test_speaking_without_tls(field: Field) -> None:
    async with field.attack() as loot, bounded(field.world):
        reader, writer = await asyncio.open_connection("127.0.0.1", field.world.gateway.settings.gateway_port)
        writer.write(PREFACE)
        answer = await asyncio.wait_for(reader.read(), 15)
        writer.close()
        loot.got = f"hung up on, {len(answer)} bytes"
        assert len(answer) < 10  # an alert of TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["TLS 1.0", "TLS 1.1"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_speaking(field: Field, version: ssl.TLSVersion) -> None:
    context = tls(field.world)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with field.attack() as loot, bounded(field.world):
        with pytest.raises((ssl.SSLError, ConnectionResetError)) as refused:
            await asyncio.open_connection("127.0.0.1", field.world.gateway.settings.gateway_port, ssl=context)
        loot.got = repr(refused.value)[:60]


async def test_showing_a_certificate_instead_of_a_token(field: Field, tmp_path: Path) -> None:
    """The gateway asks for none, and believes none."""
    certificates.make(tmp_path, ["localhost"])
    own = [(tmp_path / name).read_bytes() for name in ("key.pem", "cert.pem")]
    async with field.attack() as loot, bounded(field.world):
        trust = grpc.ssl_channel_credentials(field.world.gateway.ca.encode(), *own)
        async with grpc.aio.secure_channel(field.world.gateway.address, trust) as channel:
            method: Any = channel.unary_unary(POLL)
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await method(b"", timeout=5)
        loot.got = denied.value.code().name
        assert denied.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_posing_as_the_gateway(field: Field, tmp_path: Path) -> None:
    """With a certificate of a CA of its own, for the gateway's very address: an honest guest does not speak."""
    certificates.make(tmp_path, ["127.0.0.1", "localhost"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.set_alpn_protocols(["h2"])
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    async with field.attack() as loot, await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        trust = grpc.ssl_channel_credentials(field.world.gateway.ca.encode())
        port = server.sockets[0].getsockname()[1]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", trust) as channel:
            method: Any = channel.unary_unary(POLL)
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await method(b"", timeout=5)
        loot.got = f"{failed.value.code().name}; heard {len(heard)} words"
        assert not heard


# -- what it costs -----------------------------------------------------------------------------------------------------

MOST = 400.0  # MiB that the gateway's process has, whatever strangers send
P95 = 1.0  # seconds of a victim's call above those without an attack; `benchmarks/` measures on an idle machine
SECONDS = 3.0
BY = {
    "strangers": "large_enrolments large_calls medium_enrolments small_calls handshakes large_headers slow_bodies",
    "slow strangers": "many_connections half_handshakes slow_headers",
    "frames": "resets pings settings empty_data windows many_headers",
    "a guest": "large_answers calls_of_a_guest",
}


async def test_every_attack_is_made() -> None:
    assert {name for each in BY.values() for name in each.split()} == set(ATTACKS) - {"answers"}


@pytest.mark.parametrize("group", BY)
async def test_using_the_gateway_up_by(field: Field, thief: Thief, group: str) -> None:
    """A process attacks for some seconds; another measures a guest's calls all the while."""
    async with probed(field) as probe:
        attacks = {name: partial(used_up, field, thief, probe, name) for name in BY[group].split()}
        await few_at_a_time(field, attacks)


async def test_using_the_gateway_up_with_answers(field: Field, thief: Thief) -> None:
    """Within the limits of one guest: what costs most to look at, over and over, for a task of its own."""
    async with thief.task() as (task, _), probed(field) as probe:
        bodies = costly(thief, task)
        attacks = {name: partial(used_up, field, thief, probe, "answers", word) for name, word in bodies.items()}
        await few_at_a_time(field, attacks)


async def few_at_a_time(field: Field, attacks: Mapping[str, Callable[[], Awaitable[str]]]) -> None:
    """A step that is held for more than a minute is given up; so there is an operation for each few attacks."""
    title, names = field.report.case, list(attacks)
    for first in range(0, len(names), 3):
        field.report.case = title
        await several(field, {name: attacks[name] for name in names[first : first + 3]})


def costly(thief: Thief, task: Task) -> dict[str, Word]:
    """Words about a task that are large, or of many parts."""
    sealed = many([seal(thief, json(b'"x"'))] * 440)
    top, token = application("EngineFailed").SerializeToString(), piece(1, task.task_token)
    nested = piece(77, b"") * 20_000
    for _ in range(5):
        nested = piece(4, nested)
    completed_by, failed_by = "RespondActivityTaskCompleted", "RespondActivityTaskFailed"
    return {
        "sealed details": failed(task, application("EngineFailed", details=sealed)),
        "sealed details of a cancel": canceled(task, sealed),
        "a sealed answer of 64 kB": completed(task, sealed_json(thief, b'"' + b"x" * 65_000 + b'"')),
        "fields below causes": Word(failed_by, token + piece(2, top + nested)),
        "causes side by side": Word(failed_by, token + piece(2, top + piece(4, b"") * 30_000)),
        "fields without a token": Word(completed_by, piece(900, b"") * 4000),
        "numbers behind a token": Word(completed_by, token + b"\x38\x01" * 30_000),
        "2 MB without a token": Word(completed_by, bytes(2_000_000)),
        "heartbeats of 64 kB": heartbeat(task, clear(b"x" * 65_000)),
        "heartbeats of a worker": Word("RecordWorkerHeartbeat", piece(3, b"") * 5000),
    }


async def used_up(field: Field, thief: Thief, probe: "Probe", attack: str, word: Word | None = None) -> str:
    """What the gateway used during one attack, and how long the victim's calls took."""
    gateway, words = field.world.gateway, {}
    if word is not None:
        words = {"rpc": word.rpc, "body": base64.b64encode(word.body).decode()}
    await probe.times()
    await asyncio.sleep(1)
    quiet = part_of(await probe.times(), 0.95)
    forget_peak(field.world)
    told = await attacked(attack, Target(gateway.address, gateway.ca, thief.known.token), words)
    took, peak = await probe.times(), use_of(field.world).peak
    p50, p95, worst = (part_of(took, part) * 1000 for part in (0.5, 0.95, 1))
    said = f"{peak:.0f} MiB; p95 {quiet * 1000:.0f} ms, then {p50:.0f}/{p95:.0f}/{worst:.0f} ms; {told}"
    assert peak < MOST, said
    assert p95 < (P95 + quiet) * 1000, said
    return said


def part_of(took: list[float], part: float) -> float:
    """What this part of the calls took at most."""
    return sorted(took)[min(len(took) - 1, int(len(took) * part))]


@dataclass
class Probe:
    """A process that calls as the victim all the while."""

    process: asyncio.subprocess.Process

    async def times(self) -> list[float]:
        """Seconds of each call since this was last asked."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return await self.read()

    async def read(self) -> list[float]:
        """What it says next."""
        assert self.process.stdout is not None
        took: list[float] = jsons.loads(await asyncio.wait_for(self.process.stdout.readline(), 60))
        return took


@asynccontextmanager
async def probed(field: Field) -> AsyncIterator[Probe]:
    """A victim's calls go on during the block."""
    words, gateway = ("-m", "tests.redteam.probe"), field.world.gateway
    victim = Target(gateway.address, gateway.ca, identity.require(field.victim.guest.settings.places).token)
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=PIPE, stdout=PIPE, limit=2**24)
    assert process.stdin is not None
    process.stdin.write(victim.dumps() + b"\n")
    probe = Probe(process)
    try:
        await probe.read()
        yield probe
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)


async def attacked(attack: str, target: Target, words: dict[str, str]) -> str:
    """Attack from a process of its own; what became of it, in words."""
    command = ("-m", "tests.redteam.hostile", attack, str(SECONDS))
    raid = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=PIPE, stdout=PIPE)
    said = jsons.dumps({"target": asdict(target), "words": words}).encode() + b"\n"
    told, _ = await asyncio.wait_for(raid.communicate(said), 120)
    return told.decode()


async def test_what_is_left_after_all_floods(field: Field) -> None:
    """Memory that Python keeps for the next time, and nothing else."""
    async with field.attack() as loot:
        now, before = use_of(field.world), (BEGINNING or [use_of(field.world)])[0]
        loot.got = f"{now.files - before.files:+} files, {now.mib - before.mib:+.0f} MiB of {before.mib:.0f}"
        assert now.files <= before.files + ROOM
        assert now.mib - before.mib < 2 * GROWTH
