"""The port `Identities`, over PostgreSQL."""

from dataclasses import dataclass
from uuid import UUID

from temporalio import activity

from contract.ports.identities import EnrolmentNote, GuestExpectation, Identities, TokenChange, TokenUse
from records import guests
from records.engine import AsyncEngine


@dataclass(frozen=True)
class PostgresIdentities(Identities):
    """One transaction an activity."""

    engine: AsyncEngine

    @activity.defn
    async def expect_guest(self, expectation: GuestExpectation) -> int:
        async with self.engine.begin() as conn:
            return await guests.expect(conn, expectation)

    @activity.defn
    async def enrol_guest(self, note: EnrolmentNote) -> None:
        async with self.engine.begin() as conn:
            first = await guests.enrol(conn, note)
        if not first:  # only now that the report is committed
            raise guests.report_double(note)

    @activity.defn
    async def note_first_use(self, use: TokenUse) -> None:
        async with self.engine.begin() as conn:
            await guests.note_first_use(conn, use)

    @activity.defn
    async def change_token(self, change: TokenChange) -> None:
        async with self.engine.begin() as conn:
            await guests.change_token(conn, change)

    @activity.defn
    async def revoke_guest(self, instance_id: UUID) -> None:
        async with self.engine.begin() as conn:
            await guests.revoke(conn, instance_id)
