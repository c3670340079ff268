"""What the API itself writes: that it has given an operation up, and which request an idempotency key stands for."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from records.tables import idempotency_keys, operations, withdrawals

DAY = timedelta(days=1)
LIMITS = text("SELECT set_config('lock_timeout', '3s', true), set_config('statement_timeout', '3s', true)")


async def hold(conn: AsyncConnection, operation_id: UUID) -> None:
    """Let either an admission or a withdrawal of this operation in, until the transaction ends."""
    number = func.hashtextextended(str(operation_id), 0)
    await conn.execute(select(func.pg_advisory_xact_lock(number)))


async def is_withdrawn(conn: AsyncConnection, operation_id: UUID) -> bool:
    """Whether the API has answered that this operation will not happen."""
    return bool((await conn.execute(select(exists().where(withdrawals.c.operation_id == operation_id)))).scalar())


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

    async def withdraw(self, operation_id: UUID) -> bool:
        """See to it that an operation is never admitted; False when it was, and then it counts.

        An admission that is under way is waited for.
        """
        w = withdrawals.c
        async with self.engine.begin() as conn:
            await conn.execute(LIMITS)
            await hold(conn, operation_id)
            if (await conn.execute(select(operations.c.id).where(operations.c.id == operation_id))).first():
                return False
            await conn.execute(upsert(withdrawals).values(operation_id=operation_id).on_conflict_do_nothing())
            await conn.execute(delete(withdrawals).where(w.noted < func.clock_timestamp() - DAY))
        return True

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

    async def forget(self, project_id: str, key: str, thing_id: UUID | None = None) -> None:
        """Let a key stand for nothing any more; or only while it stands for this thing."""
        k = idempotency_keys.c
        mine = [k.project_id == project_id, k.key == key, *([k.thing_id == thing_id] if thing_id else [])]
        async with self.engine.begin() as conn:
            await conn.execute(delete(idempotency_keys).where(*mine))
