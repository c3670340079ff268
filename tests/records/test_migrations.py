"""Migrations go up, down and up again, and make what the tables say."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from records.__main__ import alembic_config
from records.tables import metadata
from tests.records.conftest import Server

COLUMNS = """
    SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass ORDER BY 1, 2
"""


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of one question."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def tables(url: str) -> set[str]:
    """Names of all tables but alembic's own."""
    return set(inspect(create_engine(url, poolclass=NullPool)).get_table_names()) - {"alembic_version"}


def differences(connection: Connection) -> list[Any]:
    """What `alembic revision --autogenerate` would write."""
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


@pytest.fixture
def empty(postgresql: Server, passfile: Path) -> Iterator[str]:
    """A database without tables."""
    yield postgresql.make("empty")
    postgresql.drop("empty")


def test_they_go_up_and_down_and_up_again(empty: str) -> None:
    config = alembic_config(empty)
    command.upgrade(config, "head")
    first = [ask(empty, each) for each in (COLUMNS, INDEXES, CONSTRAINTS)]
    assert tables(empty) == set(metadata.tables)
    command.downgrade(config, "base")
    assert tables(empty) == set()
    assert ask(empty, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                      "AND relname NOT LIKE 'alembic_version%'") == []  # fmt: skip
    command.upgrade(config, "head")
    assert [ask(empty, each) for each in (COLUMNS, INDEXES, CONSTRAINTS)] == first


def test_a_second_upgrade_changes_nothing(url: str) -> None:
    before = [ask(url, each) for each in (COLUMNS, INDEXES, CONSTRAINTS)]
    command.upgrade(alembic_config(url), "head")
    assert [ask(url, each) for each in (COLUMNS, INDEXES, CONSTRAINTS)] == before


def test_alembic_finds_no_difference_to_the_tables(url: str) -> None:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert differences(connection) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE operations ADD COLUMN more text",
        "ALTER TABLE operations DROP COLUMN reason",
        "ALTER TABLE charges ALTER COLUMN amount TYPE integer",
        "ALTER TABLE instances ALTER COLUMN deleted SET DEFAULT true",
        "DROP INDEX ix_instances_group",
    ],
)
def test_alembic_would_find_a_difference(url: str, change: str) -> None:
    """The comparison above is able to fail."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        connection.execute(text(change))
        assert len(differences(connection)) == 1
        connection.rollback()


def test_the_migrations_make_what_the_tables_would(url: str, empty: str) -> None:
    """What alembic does not compare, too: conditions of indexes, names of constraints, what a deletion cascades to."""
    command.stamp(alembic_config(empty), "head")
    metadata.create_all(create_engine(empty, poolclass=NullPool))
    for question in (COLUMNS, INDEXES, CONSTRAINTS):
        assert ask(url, question) == ask(empty, question)


def test_upgrades_at_the_same_time_wait_for_each_other(empty: str) -> None:
    """Every process of a deployment may begin with one."""
    environment = {**os.environ, "COFFER_RECORDS_URL": empty}
    upgrades = [
        subprocess.Popen([sys.executable, "-m", "records", "upgrade"], env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [each.communicate(timeout=60)[1].decode() for each in upgrades]
    assert [each.returncode for each in upgrades] == [0, 0, 0], said
    assert tables(empty) == set(metadata.tables)
