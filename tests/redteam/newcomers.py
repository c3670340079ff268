"""Guests whose instances are in the records alone: cheap to expect, to enrol, to rebuild, and to throw away."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc

from contract.domain.guest import Credentials, Enrolment, Renewal
from contract.keys.enrolment import new_token, ticket_for
from contract.names import RECORDS, lock_id
from contract.ports.identities import GuestExpectation
from guest_worker.identity import StoredIdentity
from tests.redteam.scenario import Attacker, Got, open_channel
from tests.runbooks.world import World

INSTANCE = """
INSERT INTO instances (id, group_id, project_id, name, status, datastore_version_id, flavor_id, flavor, volume_gib, region,
                       access)
SELECT %s, %s, project_id, 'newcomer', status, datastore_version_id, flavor_id, flavor, volume_gib, region, access
FROM instances LIMIT 1
"""
OPERATION = """
INSERT INTO operations (id, kind, group_id, project_id, user_id, request_id, state, fence, workflow_id, run_id,
                        first_execution_run_id)
VALUES (%s, 'CREATE', %s, 'p', 'u', 'r', 'RUNNING', %s, %s, '', '')
"""


@dataclass
class Newcomer:
    """An instance as the records have it, and whoever has its user data; no server runs."""

    world: World
    instance_id: UUID = field(default_factory=uuid4)
    generation: int = 0
    guests: list[Attacker] = field(default_factory=list)

    @classmethod
    async def expected(cls, world: World) -> "Newcomer":
        """An instance that is being built; its guest may enrol now."""
        newcomer = cls(world)
        await newcomer.sql("INSERT INTO groups (id) VALUES (%s)", newcomer.instance_id)
        await newcomer.sql(INSTANCE, newcomer.instance_id, newcomer.instance_id)
        await newcomer.build()
        return newcomer

    async def sql(self, statement: str, *values: Any) -> None:
        """Write to the records."""
        await self.world.write(statement, *values)

    def known_by(self, column: str) -> Any:
        """What the records have of its guest."""
        return known_by(self.world, self.instance_id, column)

    async def build(self) -> None:
        """Another operation builds the server again: a guest of the next generation is expected."""
        operation_id, fence = uuid4(), self.generation + 1
        await self.sql("UPDATE operations SET state = 'DONE' WHERE group_id = %s", self.instance_id)
        await self.sql(OPERATION, operation_id, self.instance_id, fence, lock_id(self.instance_id))
        await self.sql("INSERT INTO operation_members VALUES (%s, %s)", operation_id, self.instance_id)
        expectation = GuestExpectation(instance_id=self.instance_id, operation_id=operation_id, fence=fence)
        self.generation = await self._ask_records("expect_guest", expectation)

    async def revoke(self) -> None:
        """End what the guest is known by, as a teardown does."""
        await self._ask_records("revoke_guest", self.instance_id)

    async def _ask_records(self, verb: str, fact: Any) -> Any:
        return await self.world.client.execute_activity(
            verb, fact, id=f"{verb}/{uuid4()}", task_queue=RECORDS, schedule_to_close_timeout=timedelta(seconds=20)
        )

    @property
    def ticket(self) -> str:
        """The ticket of the newest server's user data."""
        return ticket_for(self.world.server.keyring, self.instance_id, self.generation)

    def new_token(self) -> str:
        """A token as guests make them."""
        return new_token(self.instance_id)

    def enrolment(self, **other: Any) -> bytes:
        """The request by which a guest enrols with its bearer token; `other`: what is different about it."""
        said = {"instance_id": self.instance_id, "generation": self.generation, "ticket": self.ticket, **other}
        return Enrolment(**said).model_dump_json().encode()

    async def enrol(self, token: str | None = None) -> Attacker:
        """The guest enrols, and all it has is ours."""
        known = StoredIdentity(generation=self.generation, token=token or self.new_token())
        guest = Attacker(known, self.instance_id, self.world, open_channel(self.world))
        self.guests.append(guest)
        got = await guest.identify("Enrol", self.enrolment())
        assert got.code is grpc.StatusCode.OK, got
        guest.known = known.model_copy(update={"credentials": credentials(got)})
        return guest

    async def used(self, guest: Attacker) -> None:
        """Its guest makes its first call, and the records have noted that."""
        assert (await guest.call("GetSystemInfo", b"")).code is grpc.StatusCode.OK
        for _ in range(100):
            if self.known_by("first_used") is not None:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the first call was not noted")

    async def renew(self, guest: Attacker) -> str:
        """Its guest changes its token; return the old one."""
        old, new = guest.known.token, self.new_token()
        got = await guest.identify("Renew", renewal(new))
        assert got.code is grpc.StatusCode.OK, got
        guest.known = guest.known.model_copy(update={"token": new})
        return old

    async def leave(self) -> None:
        """Nobody knows it any more."""
        for each in self.guests:
            await each.close()
        await self.sql(
            "UPDATE guest_identities SET revoked = now(), token_hash = NULL WHERE instance_id = %s", self.instance_id
        )
        await self.sql("UPDATE instances SET deleted = true WHERE id = %s", self.instance_id)
        await self.sql("UPDATE operations SET state = 'DONE' WHERE group_id = %s", self.instance_id)


def renewal(token: str) -> bytes:
    """The request by which a guest changes to a token."""
    return Renewal(token=token).model_dump_json().encode()


def known_by(world: World, instance_id: UUID, column: str) -> Any:
    """One column of what the records have of a guest."""
    rows = world.stack.sql(f"SELECT {column} FROM guest_identities WHERE instance_id = %s", instance_id,
                           database=world.database)  # fmt: skip
    return rows[0][0]


def credentials(got: Got) -> Credentials:
    """What an answer of the identity service holds."""
    return Credentials.model_validate_json(got.answer)
