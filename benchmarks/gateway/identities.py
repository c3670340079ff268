"""Guests that the records know already: enrolling thousands is not what is measured."""

import secrets
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

from contract.keys.enrolment import hash_of_token

DATASTORE = "INSERT INTO datastores (id, name) VALUES (%s, 'bench')"
VERSION = """INSERT INTO datastore_versions (id, datastore_id, name, number, manager)
    VALUES (%(id)s, %(id)s, '1', '1', 'postgresql')"""
GROUPS = "INSERT INTO groups (id) SELECT unnest(%(ids)s::uuid[])"
INSTANCES = """INSERT INTO instances (id, group_id, project_id, name, status, datastore_version_id, flavor_id, flavor,
        volume_gib, region, access)
    SELECT wanted, wanted, 'bench', 'bench', 'ACTIVE', %(version)s, '1', '{}', 1, 'RegionOne', '{}'
    FROM unnest(%(ids)s::uuid[]) AS wanted"""
IDENTITIES = """INSERT INTO guest_identities (instance_id, generation, operation_id, enrol_until, token_hash, enrolled,
        first_used)
    SELECT id, 1, id, clock_timestamp(), hash, clock_timestamp(), clock_timestamp()
    FROM unnest(%(ids)s::uuid[], %(hashes)s::text[]) AS wanted(id, hash)"""


@dataclass(frozen=True)
class Identity:
    """Who a guest is, and the token that proves it."""

    instance_id: UUID
    token: str


def enrol(dsn: str, count: int) -> list[Identity]:
    """Write so many instances and what their guests are known by; return the guests."""
    guests = [_new(uuid4()) for _ in range(count)]
    values = {
        "ids": [each.instance_id for each in guests],
        "hashes": [hash_of_token(each.token) for each in guests],
        "version": uuid4(),
    }
    with psycopg.connect(dsn) as connection:
        connection.execute(DATASTORE, (values["version"],))
        connection.execute(VERSION, {"id": values["version"]})
        for statement in (GROUPS, INSTANCES, IDENTITIES):
            connection.execute(statement, values)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")  # not in the middle of the measurement
    return guests


def _new(instance_id: UUID) -> Identity:
    return Identity(instance_id, f"{instance_id}.{secrets.token_urlsafe(32)}")
