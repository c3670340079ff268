"""What pg_upgrade takes along, and what is made again: of data in which a tenant used most of what PostgreSQL has."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import EngineFailed
from guest_worker.datastores.base import PlainUser
from tests.contracts.engines import DIALECTS, copy_template
from tests.machine import kill_below, loopback
from tests.series.test_drivers import OLD, Volume, newer

PREFIX = newer("postgresql")
pytestmark = pytest.mark.skipif(PREFIX is None, reason="no newer PostgreSQL on this machine")
AMY, BOB = UserName(name="amy"), UserName(name="bob")
BY_ROOT = (
    "CREATE EXTENSION hstore",
    "CREATE ROLE readers NOLOGIN",
    "GRANT readers TO bob",
    "ALTER ROLE bob SET work_mem = '7MB'",
    "ALTER DATABASE app SET statement_timeout = '99s'",
    "ALTER SYSTEM SET random_page_cost = 2.5",
    "CREATE FUNCTION shout() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'",
    "CREATE EVENT TRIGGER loud ON ddl_command_start WHEN TAG IN ('ALTER COLLATION') EXECUTE FUNCTION shout()",
)
BY_AMY = (
    "CREATE COLLATION sorted (provider = icu, locale = 'sv')",
    'CREATE TABLE words (id serial PRIMARY KEY, word text COLLATE sorted UNIQUE, also text COLLATE "de-x-icu")',
    "CREATE INDEX by_expression ON words ((also || '!'))",
    "INSERT INTO words (word, also) SELECT md5(n::text), md5(n::text) FROM generate_series(1, 2000) n",
    "CREATE TABLE secrets (owner text, secret text); ALTER TABLE secrets ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON secrets USING (owner = session_user); INSERT INTO secrets VALUES ('amy', 'a'), ('bob', 'b')",
    "ALTER TABLE secrets FORCE ROW LEVEL SECURITY; GRANT SELECT ON secrets TO bob",
    "SELECT lo_from_bytea(4711, 'large')",
    "CREATE MATERIALIZED VIEW longest AS SELECT max(word) FROM words",
)
INDEXES = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
VERSIONS = """
SELECT collname FROM pg_collation WHERE collversion <> pg_collation_actual_version(oid)
UNION SELECT datname FROM pg_database WHERE datcollversion <> pg_database_collation_actual_version(oid)
"""


@pytest.fixture
def volume() -> Iterator[Volume]:
    """Data of the first series that much was made in; its engine is stopped, and a copy was made."""
    with TemporaryDirectory(prefix="coffer-series-pg-") as work:
        folder = Path(work)
        folder.chmod(0o755)
        copy_template("postgresql", folder)
        made = Volume("postgresql", folder, loopback())
        engine = made.engine("state")
        engine.start()
        engine.accounts.create_database(NewDatabase(name="app"))
        engine.accounts.create_user(PlainUser(AMY, "secret", ("app",)))
        engine.accounts.create_user(PlainUser(BOB, "other", ("app",)))
        ask(made, "amy", "secret", *BY_AMY)
        engine.accounts.enable_root("the root")
        ask(made, "root", "the root", *BY_ROOT)
        yield made
        kill_below(folder)


def ask(volume: Volume, user: str, password: str, *statements: str) -> list[tuple[Any, ...]]:
    """The answer to the last of them."""
    dialect = DIALECTS["postgresql"]
    with closing(dialect.connect(volume.address, user, password, "app")) as connection:
        return [dialect.ask(connection, each) for each in statements][-1]


def upgrade(volume: Volume) -> Any:
    """Stop the first series, and have the next one take the data over and serve it."""
    stop(volume)
    engine = volume.engine("new", PREFIX)
    assert str(engine.upgrade_data()).startswith("17.")
    engine.forget_data()
    engine.start()
    return engine


def stop(volume: Volume) -> None:
    """The first series, with a copy made."""
    old = volume.engine("state")
    old.stop()
    old.keep_data(OLD)
    old.end()


def test_all_that_a_tenant_made_is_there(volume: Volume) -> None:
    before = volume.engine("state").accounts.list_users()
    engine = upgrade(volume)
    assert ask(volume, "amy", "secret", "SELECT count(DISTINCT word) FROM words WHERE word > ''") == [(2000,)]
    assert ask(volume, "bob", "other", "SHOW work_mem") == [("7MB",)]
    assert ask(volume, "bob", "other", "SHOW statement_timeout") == [("99s",)]
    assert ask(volume, "bob", "other", "SHOW random_page_cost") == [("2.5",)]
    assert ask(volume, "bob", "other", "SELECT secret FROM secrets") == [("b",)]
    assert ask(volume, "bob", "other", "SELECT pg_has_role('bob', 'readers', 'member')") == [(True,)]
    assert ask(volume, "amy", "secret", "SELECT lo_get(4711)") == [(b"large",)]
    assert ask(volume, "amy", "secret", "SELECT nextval('words_id_seq')") == [(2001,)]
    assert ask(volume, "amy", "secret", "SELECT count(*) FROM longest") == [(1,)]
    assert ask(volume, "root", "the root", "SELECT extname FROM pg_extension ORDER BY 1") == [("hstore",), ("plpgsql",)]
    assert ask(volume, "root", "the root", "SELECT evtname FROM pg_event_trigger WHERE evtname = 'loud'") == [("loud",)]
    assert ask(volume, "root", "the root", VERSIONS) == []
    assert ask(volume, "root", "the root", INDEXES) == [(0,)]
    analyzed = "SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND tablename = 'words'"
    assert ask(volume, "root", "the root", analyzed) != [(0,)]
    assert engine.accounts.list_users() == before
    assert engine.accounts.is_root_enabled()
    engine.accounts.delete_user(BOB)
    engine.accounts.disable_root()
    assert (volume.copies(), engine.accounts.list_databases()) == ([], ("app",))
    engine.stop()
    engine.end()


HINDRANCES = (
    ("amy", "CREATE TABLE rights (of aclitem)", "rights.of"),
    ("amy", "CREATE DOMAIN f AS regproc; CREATE TYPE pair AS (one f); CREATE TABLE t (two pair[])", "t.two"),
    ("root", "CREATE EXTENSION adminpack", "adminpack"),
    ("root", "ALTER SYSTEM SET old_snapshot_threshold = 10", "old_snapshot_threshold"),
    ("root", "ALTER SYSTEM SET promote_trigger_file = 'x'", "promote_trigger_file"),
    ("root", "CREATE DATABASE closed ALLOW_CONNECTIONS false", "closed"),
)
PASSWORDS = {"amy": "secret", "root": "the root"}


def test_what_hinders_it_is_told_while_the_database_serves(volume: Volume) -> None:
    engine = volume.engine("state")
    assert engine.check_upgrade("17") == ()
    for user, statement, _ in HINDRANCES:
        ask(volume, user, PASSWORDS[user], statement)
    found = "; ".join(engine.check_upgrade("17"))
    assert [name for _, _, name in HINDRANCES if name not in found] == []
    engine.end()


def test_data_that_it_refuses_stays_as_it_was(volume: Volume) -> None:
    """A type that the next series stores in another way."""
    ask(volume, "amy", "secret", "CREATE TABLE rights (of aclitem)")
    stop(volume)
    engine = volume.engine("new", PREFIX)
    with pytest.raises(EngineFailed, match="aclitem") as refused:
        engine.upgrade_data()
    assert "/" not in refused.value.message
    engine.end()
    old = volume.engine("again")
    old.restore_data(OLD)
    old.restore_administrator()
    old.forget_data()
    old.start()
    assert ask(volume, "amy", "secret", "SELECT count(*) FROM words") == [(2000,)]
    with pytest.raises(psycopg.Error):
        ask(volume, "amy", "wrong", "SELECT 1")
    assert volume.copies() == []
    old.stop()
    old.end()
