"""A guest that was stolen, its victims, and ways to attack: everything real, gateway, Temporal, control plane."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import psycopg
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest, PollActivityTaskQueueResponse
from temporalio.client import ActivityHandle
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import ActivitySerializationContext, DataConverter

from contract.keys.keyring import OwnKeyring
from contract.names import call_id, guest_queue
from contract.ports.guest import DatabaseList
from contract.wire.answers import from_guest
from contract.wire.codec import data_converter
from gateway.server import IDENTITY, WORKER
from guest_worker import identity
from guest_worker.identity import StoredIdentity
from guest_worker.session import ring_of
from tests.guests import TestGuest
from tests.redteam.report import Report
from tests.runbooks.world import World

OPERATOR = "/temporal.api.operatorservice.v1.OperatorService/"
SECONDS = 10.0


@dataclass(frozen=True)
class Got:
    """What an attack brought: a code of gRPC, its words, or an answer."""

    code: grpc.StatusCode
    text: str = ""
    answer: bytes = b""

    @property
    def denied(self) -> bool:
        """Whether the gateway said no for good."""
        return self.code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)

    @property
    def unanswered(self) -> bool:
        """Whether there was no answer: a stranger's connection is not read beyond its limit, and ends after a while."""
        return self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}" if self.text else f"{self.code.name}, {len(self.answer)} bytes"


@dataclass
class Attacker:
    """Holds all that a stolen guest has: token, keys, and a connection of its own."""

    known: StoredIdentity
    instance_id: UUID
    world: World
    channel: grpc.aio.Channel = field(repr=False)

    @classmethod
    def of(cls, world: World, guest: TestGuest, *, token: str | None = None) -> "Attacker":
        """Read a guest's disk; `token`: with another token than the one found there."""
        known = identity.require(guest.settings.paths)
        if token is not None:
            known = known.model_copy(update={"token": token})
        return cls(known, guest.instance_id, world, open_channel(world))

    @property
    def keyring(self) -> OwnKeyring:
        """The keys that were stolen."""
        return OwnKeyring(self.instance_id, ring_of(self.known.credentials))

    @property
    def queue(self) -> str:
        """The guest's own queue."""
        return guest_queue(self.instance_id)

    def converter(self) -> DataConverter:
        """Seals as the stolen guest does."""
        context = ActivitySerializationContext(
            namespace="coffer", activity_id=None, activity_type=None, activity_task_queue=self.queue, workflow_id=None,
            workflow_type=None, is_local=False,
        )  # fmt: skip
        return data_converter(self.keyring).with_context(context)

    async def sealed(self, *values: Any) -> Payloads:
        """Values, sealed with the stolen key."""
        return Payloads(payloads=await self.converter().encode(values))

    async def call(
        self,
        rpc: str,
        request: Message | bytes,
        *,
        service: str = WORKER,
        token: str | None = "",
        metadata: tuple[tuple[str, str | bytes], ...] = (),
        seconds: float = SECONDS,
    ) -> Got:
        """Call anything; `token`: another one, or None for no token at all."""
        said = self.known.token if token == "" else token
        headers = (*metadata, *((("authorization", f"Bearer {said}"),) if said is not None else ()))
        body = request if isinstance(request, bytes) else request.SerializeToString()
        method: Any = self.channel.unary_unary(f"{service}{rpc}")
        try:
            return Got(grpc.StatusCode.OK, answer=await method(body, metadata=headers, timeout=seconds))
        except grpc.aio.AioRpcError as error:
            return Got(error.code(), error.details() or "")

    async def identify(self, verb: str, body: bytes, *, token: str | None = "") -> Got:
        """Call the gateway's identity service."""
        return await self.call(verb, body, service=IDENTITY, token=token)

    async def poll(self, *, queue: str | None = None, seconds: float = SECONDS) -> PollActivityTaskQueueResponse:
        """Poll as a worker does; AssertionError when it is denied."""
        request = PollActivityTaskQueueRequest(namespace="coffer", task_queue=TaskQueue(name=queue or self.queue),
                                               identity="attacker")  # fmt: skip
        got = await self.call("PollActivityTaskQueue", request, seconds=seconds)
        assert got.code is grpc.StatusCode.OK, got
        return PollActivityTaskQueueResponse.FromString(got.answer)

    @asynccontextmanager
    async def task(self) -> AsyncIterator[tuple[PollActivityTaskQueueResponse, "ActivityHandle[RawValue]"]]:
        """A task of the stolen guest's own, taken by the attacker; it is ended afterwards whatever became of it."""
        handle = await ask(self.world, self.instance_id, "list_databases")
        task = await self.poll()
        assert task.activity_id == handle.id
        try:
            yield task, handle
        finally:
            with suppress(Exception):
                await handle.terminate(reason="the test is over")

    def reconnected(self) -> "Attacker":
        """The same, on a connection of its own: what was sent over another one does not count against it."""
        return replace(self, channel=open_channel(self.world))

    async def close(self) -> None:
        """Hang up."""
        await self.channel.close()


def open_channel(world: World, *, options: tuple[tuple[str, Any], ...] = ()) -> grpc.aio.Channel:
    """A connection to the gateway, shared with nobody."""
    trust = grpc.ssl_channel_credentials(world.gateway.ca.encode())
    own = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), *options)
    return grpc.aio.secure_channel(world.gateway.address, trust, own)


async def ask(world: World, instance_id: UUID, verb: str, seconds: float = 20) -> "ActivityHandle[RawValue]":
    """A short call of a guest, as the API makes it."""
    handle: ActivityHandle[RawValue] = await world.client.start_activity(
        verb,
        id=call_id(instance_id, f"req-{uuid4()}"),
        task_queue=guest_queue(instance_id),
        result_type=RawValue,
        schedule_to_close_timeout=timedelta(seconds=seconds),
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(maximum_attempts=1),
    )
    return handle


@dataclass
class Victim:
    """An instance whose guest is honest, and whose owner goes on working."""

    world: World
    guest: TestGuest
    rows: int = 0

    @property
    def instance_id(self) -> UUID:
        """Which."""
        return self.guest.instance_id

    @property
    def guest_queue(self) -> str:
        """Where its tasks are."""
        return guest_queue(self.instance_id)

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[None]:
        """An operation of the victim's is in the middle of a step while the block runs, and must come to its end."""
        async with self.world.held("stop_datastore") as step:
            run = await self.world.restart(self.instance_id)
            await step.arrived()
            try:
                yield
            finally:  # a case that fails must not spoil the next one
                step.let_go.set()
                await asyncio.wait_for(run.result(), 60)
        assert self.world.instance(self.instance_id)["status"] == "ACTIVE"
        await self.answers()

    async def answers(self) -> None:
        """A short call is answered by the honest guest, and the database serves over TCP."""
        raw = await asyncio.wait_for((await ask(self.world, self.instance_id, "list_databases")).result(), 20)
        assert "app" in from_guest(raw, self.instance_id, DatabaseList).databases
        self.rows += 1
        with psycopg.connect(host=self.guest.address, user="amy", password="secret", dbname="app") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            connection.execute("INSERT INTO kept VALUES (1)")
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (self.rows,)


@dataclass
class Scenario:
    """Everybody who is there."""

    world: World
    attacker: Attacker
    victim: Victim
    report: Report

    @asynccontextmanager
    async def attack(self) -> AsyncIterator["AttackOutcome"]:
        """While a victim's operation is under way, take what can be taken; afterwards the victim must have gone on."""
        outcome = AttackOutcome()
        async with self.victim.operating():
            yield outcome
        assert outcome.got, "a case says what the attacker got"
        self.report.add(outcome.got, "restarted, answered, kept its rows")


@dataclass
class AttackOutcome:
    """What the attacker came away with, in words for the table."""

    got: str = ""


def clear(text: bytes = b'"in clear"') -> Payloads:
    """A payload that nobody sealed."""
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=text)])
