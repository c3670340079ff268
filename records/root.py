"""Root history: who had the administrator account of an instance, and since when."""

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.ports.records import RootNote
from records.tables import root_changes


async def note_root(conn: AsyncConnection, note: RootNote) -> None:
    """Write the intent, or with the same request id the result."""
    key = {"instance_id": note.instance_id, "request_id": note.request_id}
    values = {**key, "user_id": note.user_id, "wanted": note.wanted}
    await conn.execute(upsert(root_changes).values(values).on_conflict_do_nothing())
    if note.done is None:
        return
    where = (root_changes.c.instance_id == note.instance_id, root_changes.c.request_id == note.request_id)
    await conn.execute(update(root_changes).where(*where).values(done=note.done, finished=func.clock_timestamp()))
