"""The records, read and filled directly."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg

from deploy.settings import StackSettings

PREFIX = "bench-"
# A real instance has at least the operation that made it; ours have none.
MADE_HERE = """SELECT id FROM instances WHERE project_id = %s AND name LIKE 'bench-%%' AND group_id = id
    AND NOT EXISTS (SELECT FROM operation_members AS member WHERE member.instance_id = instances.id)"""
# SHUTDOWN: the sweep starts a watch for each instance that is ACTIVE.
COPY = """INSERT INTO instances (id, group_id, project_id, name, status, operating_status, datastore_version_id,
        flavor_id, flavor, volume_gib, volume_type, volume_used_bytes, volume_total_bytes, region, access, addresses)
    SELECT wanted.id, wanted.id, project_id, %s || wanted.number, 'SHUTDOWN', operating_status, datastore_version_id,
        flavor_id, flavor, volume_gib, volume_type, volume_used_bytes, volume_total_bytes, region, access, addresses
    FROM instances, unnest(%s::uuid[]) WITH ORDINALITY AS wanted(id, number) WHERE instances.id = %s"""
STEPS = """SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM step.finished - started))
    FROM operation_steps AS step JOIN operations ON operations.id = operation_id
    WHERE kind = 'create' AND instance_id = ANY(%s) AND step.finished IS NOT NULL GROUP BY name ORDER BY min(number)"""


def connect(settings: StackSettings) -> "psycopg.Connection[tuple[Any, ...]]":
    """The records; every statement is its own transaction unless said otherwise."""
    return psycopg.connect(host="127.0.0.1", port=settings.records_port, user="coffer", dbname="coffer",
                           passfile=str(settings.secrets / "pgpass"), autocommit=True)  # fmt: skip


@contextlib.contextmanager
def many_instances(settings: StackSettings, project_id: str, like: str, count: int) -> Iterator[list[str]]:
    """Copy an instance's row so many times; the copies are gone afterwards."""
    ids = sorted(uuid4() for _ in range(count))
    with connect(settings) as connection:
        remove_made_here(connection, project_id)  # what a run left that was killed
        try:
            with connection.transaction():
                connection.execute("INSERT INTO groups (id) SELECT unnest(%s::uuid[])", (ids,))
                connection.execute(COPY, (PREFIX, ids, UUID(like)))
            connection.execute("ANALYZE instances")  # not in the middle of the measurement
            yield [str(each) for each in ids]
        finally:
            remove_made_here(connection, project_id)


def remove_made_here(connection: "psycopg.Connection[tuple[Any, ...]]", project_id: str) -> None:
    """Delete the copies, and nothing else."""
    with connection.transaction():
        ids = [row[0] for row in connection.execute(MADE_HERE, (project_id,))]
        connection.execute("DELETE FROM instances WHERE id = ANY(%s)", (ids,))
        connection.execute("DELETE FROM groups WHERE id = ANY(%s)", (ids,))


def creation_steps(settings: StackSettings, instances: Sequence[str]) -> list[tuple[str, float]]:
    """The median seconds of each step of these instances' creations, in the order of the steps."""
    with connect(settings) as connection:
        rows = connection.execute(STEPS, ([UUID(each) for each in instances],)).fetchall()
    return [(str(name), float(seconds)) for name, seconds in rows]
