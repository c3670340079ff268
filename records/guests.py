"""What guests are known by: expected, enrolled, changed, revoked. Times are the database's own clock."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import ARRAY, Row, Uuid, any_, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.domain.errors import AlreadyExists, NotFound
from contract.ports.identities import EnrolmentNote, GuestExpectation, TokenChange, TokenUse
from records.operations import require_member, require_open
from records.tables import guest_identities, instances

NOW = func.clock_timestamp()
# The server may take a quarter of an hour to become ACTIVE and its guest ten minutes to boot (workflows.steps); twice,
# since both are tried once more where time ran out.
BOOT_TIME = timedelta(minutes=50)
OLD_TOKEN_COUNTS = timedelta(minutes=10)

log = logging.getLogger(__name__)
_g = guest_identities.c


@dataclass(frozen=True, slots=True)
class GuestIdentity:
    """What one guest is known by now: hashes that count, its generation, and whether its token was ever used."""

    instance_id: UUID
    generation: int
    hashes: frozenset[str]
    used: bool = True


async def expect(conn: AsyncConnection, wanted: GuestExpectation) -> int:
    """Open one enrolment in the name of an open operation; its repeat finds it open, or spent."""
    require_member(await require_open(conn, wanted.operation_id, wanted.fence), wanted.instance_id)
    row = await _locked(conn, wanted.instance_id)
    asks = wanted.operation_id if wanted.attempt == 1 else uuid5(wanted.operation_id, str(wanted.attempt))
    if row is not None and row.operation_id == asks:
        return int(row.generation)
    generation = int(row.generation) + 1 if row is not None else 1
    fresh: dict[str, Any] = {
        "generation": generation, "operation_id": asks, "enrol_until": NOW + BOOT_TIME,
        "token_hash": None, "previous_hash": None, "previous_until": None, "enrolled": None, "first_used": None,
        "revoked": None,
    }  # fmt: skip
    values = {"instance_id": wanted.instance_id, **fresh}
    statement = upsert(guest_identities).values(values)
    await conn.execute(statement.on_conflict_do_update(index_elements=[_g.instance_id], set_=fresh))
    return generation


async def enrol(conn: AsyncConnection, note: EnrolmentNote) -> bool:
    """Spend the enrolment on a token; False, and counted, where another token was first or this one was used already."""
    row = await _locked(conn, note.instance_id)
    if row is None or row.revoked is not None or row.generation != note.generation:
        raise NotFound(f"no guest of generation {note.generation} is expected for {note.instance_id}")
    in_time = (await conn.execute(select(row.enrol_until >= NOW))).scalar_one()
    if row.token_hash is not None and (note.token_hash != row.token_hash or row.first_used is not None):
        double = {"doubles": row.doubles + 1, "last_double": NOW, "last_double_from": note.peer[:200]}
        await _write(conn, note.instance_id, **double)
        return False
    if not in_time:
        raise NotFound(f"the time in which the guest of {note.instance_id} could enrol is over")
    if row.token_hash is None:
        await _write(conn, note.instance_id, token_hash=note.token_hash, enrolled=NOW)
    return True


def report_double(note: EnrolmentNote) -> AlreadyExists:
    """Say it where operators look, and return the refusal."""
    log.warning(
        "SECURITY a second enrolment for instance %s (generation %s) from %s was refused: its user data is known to "
        "somebody else, or was used in another server", note.instance_id, note.generation, note.peer
    )  # fmt: skip
    return AlreadyExists(f"the guest of {note.instance_id} has enrolled already")


async def note_first_use(conn: AsyncConnection, use: TokenUse) -> None:
    """End the ticket that this token was enrolled with; no error if the token does not count any more."""
    where = (_g.instance_id == use.instance_id, _g.generation == use.generation, _g.token_hash == use.token_hash)
    statement = update(guest_identities).where(*where, _g.first_used.is_(None))
    await conn.execute(statement.values(first_used=NOW))


async def change_token(conn: AsyncConnection, change: TokenChange) -> None:
    """Take the new token; a repeat changes nothing."""
    row = await _locked(conn, change.instance_id)
    if row is None or row.revoked is not None or row.generation != change.generation:
        raise NotFound(f"no guest of generation {change.generation} is known for {change.instance_id}")
    if row.token_hash == change.token_hash:
        return
    if row.token_hash != change.old_hash:
        raise NotFound("the token that asks does not count any more")
    await _write(conn, change.instance_id, token_hash=change.token_hash, previous_hash=change.old_hash,
                 previous_until=NOW + OLD_TOKEN_COUNTS, first_used=func.coalesce(_g.first_used, NOW))  # fmt: skip


async def revoke(conn: AsyncConnection, instance_id: UUID) -> None:
    """End what a guest is known by; no error if there is nothing."""
    where = (_g.instance_id == instance_id, _g.revoked.is_(None))
    nothing = {"token_hash": None, "previous_hash": None, "previous_until": None}
    await conn.execute(update(guest_identities).where(*where).values(revoked=NOW, **nothing))


async def identities(conn: AsyncConnection, ids: Collection[UUID]) -> list[GuestIdentity]:
    """What these guests are known by; one that is not in the answer is nobody."""
    previous = func.coalesce(_g.previous_until > NOW, False).label("previous_counts")
    statement = select(_g.instance_id, _g.generation, _g.token_hash, _g.previous_hash, _g.first_used, previous)
    statement = statement.join(instances, instances.c.id == _g.instance_id)
    # One array, not a parameter each: the gateway asks for thousands at once, every few seconds.
    wanted = any_(literal(list(ids), ARRAY(Uuid)))
    where = (_g.instance_id == wanted, _g.revoked.is_(None), _g.token_hash.is_not(None), ~instances.c.deleted)
    return [
        GuestIdentity(
            row.instance_id,
            row.generation,
            frozenset({row.token_hash, row.previous_hash} if row.previous_counts else {row.token_hash}),
            row.first_used is not None,
        )
        for row in (await conn.execute(statement.where(*where))).all()
    ]


async def _locked(conn: AsyncConnection, instance_id: UUID) -> Row[Any] | None:
    statement = select(guest_identities).where(_g.instance_id == instance_id).with_for_update()
    return (await conn.execute(statement)).one_or_none()


async def _write(conn: AsyncConnection, instance_id: UUID, **values: Any) -> None:
    await conn.execute(update(guest_identities).where(_g.instance_id == instance_id).values(**values))
