"""What the API itself writes: that it has given an operation up, and which request an idempotency key stands for."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from records.engine import bounded
from records.tables import idempotency_keys, operations, waiting, withdrawals

DAY = timedelta(days=1)
SECONDS = 3.0  # that the records have for each
LIMITS = text("SELECT set_config('lock_timeout', '3s', true), set_config('statement_timeout', '3s', true)")


async def hold(conn: AsyncConnection, operation_id: UUID) -> None:
    """Let either an admission or a withdrawal of this operation in, until the transaction ends."""
    number = func.hashtextextended(str(operation_id), 0)
    await conn.execute(select(func.pg_advisory_xact_lock(number)))


def withdrawn(operation_id: UUID) -> ColumnElement[bool]:
    """Whether the API has answered that this operation will not happen."""
    return exists().where(withdrawals.c.operation_id == operation_id)


async def is_admitted(conn: AsyncConnection, operation_id: UUID) -> bool:
    """Whether the records have the operation."""
    return (await conn.execute(select(operations.c.id).where(operations.c.id == operation_id))).first() is not None


async def never_admit(conn: AsyncConnection, operation_id: UUID) -> None:
    """Withdraw an operation that is not admitted yet, under its lock (`hold`)."""
    await conn.execute(upsert(withdrawals).values(operation_id=operation_id).on_conflict_do_nothing())


async def end_waiting(conn: AsyncConnection, instance_ids: Collection[UUID]) -> None:
    """The instances are being deleted: what waits for them is never admitted."""
    w = waiting.c
    theirs = select(w.operation_id).where(w.instance_ids.overlap(list(instance_ids))).order_by(w.operation_id)
    for operation_id in (await conn.execute(theirs)).scalars().all():
        await hold(conn, operation_id)  # an attempt that notes it once more must not come between
        await conn.execute(delete(waiting).where(w.operation_id == operation_id))
        await never_admit(conn, operation_id)


@dataclass(frozen=True)
class Kept:
    """What is known of an idempotency key: the request's fingerprint, the key of that, and what the request makes."""

    mac_key: str
    fingerprint: str
    thing_id: UUID


@dataclass(frozen=True)
class Requests:
    """The records as the API writes them."""

    engine: AsyncEngine

    @bounded(SECONDS)
    async def withdraw(self, operation_id: UUID) -> bool:
        """See to it that an operation is never admitted; False when it was, and then it counts.

        An admission that is under way is waited for.
        """
        w = withdrawals.c
        async with self.engine.begin() as conn:
            await conn.execute(LIMITS)
            await hold(conn, operation_id)
            if await is_admitted(conn, operation_id):
                return False
            await never_admit(conn, operation_id)
            await conn.execute(delete(withdrawals).where(w.noted < func.clock_timestamp() - DAY))
        return True

    @bounded(SECONDS)
    async def remember(self, project_id: str, key: str, wanted: Kept) -> Kept:
        """Keep what a key stands for, for a day; return what it has stood for since it was first used."""
        k = idempotency_keys.c
        mine = (k.project_id == project_id, k.key == key)
        async with self.engine.begin() as conn:
            await conn.execute(LIMITS)
            await conn.execute(delete(idempotency_keys).where(k.noted < func.clock_timestamp() - DAY))
            values = {"project_id": project_id, "key": key, "mac_key": wanted.mac_key,
                      "fingerprint": wanted.fingerprint, "thing_id": wanted.thing_id}  # fmt: skip
            await conn.execute(upsert(idempotency_keys).values(values).on_conflict_do_nothing())
            row = (await conn.execute(select(k.mac_key, k.fingerprint, k.thing_id).where(*mine))).one()
        return Kept(*row)

    @bounded(SECONDS)
    async def forget(self, project_id: str, key: str, thing_id: UUID | None = None) -> None:
        """Let a key stand for nothing any more; or only while it stands for this thing."""
        k = idempotency_keys.c
        mine = [k.project_id == project_id, k.key == key, *([k.thing_id == thing_id] if thing_id else [])]
        async with self.engine.begin() as conn:
            await conn.execute(delete(idempotency_keys).where(*mine))
