"""PostgreSQL alone: grants in every form, instances of older guests, encodings, names, many databases."""

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.datastores.postgresql import POSTGRESQL, encoding_of
from contract.domain.errors import BadRequest, Busy, NotFound
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, BOB, PASSWORD, Case

ONLY = pytest.mark.parametrize("case", ["postgresql"], indirect=True)
pytestmark = ONLY

GRANTS = {
    "the API's": (),
    "connect": ("GRANT CONNECT ON DATABASE app TO amy",),
    "with grant option": ("GRANT ALL ON DATABASE app TO amy WITH GRANT OPTION",),
    "by somebody with a grant option": (
        "GRANT CONNECT ON DATABASE app TO bob WITH GRANT OPTION",
        "SET SESSION AUTHORIZATION bob",
        "GRANT CONNECT ON DATABASE app TO amy",
        "RESET SESSION AUTHORIZATION",
    ),
    "to everybody": ("GRANT ALL ON DATABASE app TO PUBLIC",),
    "through another user": ("GRANT bob TO amy WITH ADMIN OPTION",),
    "through a group": (
        "DROP ROLE IF EXISTS grp",
        "CREATE ROLE grp",
        "GRANT CONNECT ON DATABASE app TO grp",
        "GRANT grp TO amy",
    ),
    "the owning role with admin option": (
        "DO $$BEGIN EXECUTE (SELECT format('GRANT %s TO amy WITH ADMIN OPTION', datdba::regrole) FROM pg_database"
        " WHERE datname = 'app'); END$$",
    ),
    "the owning role by another user": (
        "DO $$DECLARE owner text := (SELECT datdba::regrole FROM pg_database WHERE datname = 'app'); BEGIN"
        " EXECUTE format('GRANT %s TO bob WITH ADMIN OPTION', owner); SET LOCAL ROLE bob;"
        " EXECUTE format('GRANT %s TO amy', owner); END$$",
    ),
    "tables, columns, schemas, functions, defaults": (
        "CREATE TABLE public.g (n int, m int)",
        "CREATE SCHEMA gs",
        "CREATE FUNCTION gs.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "GRANT SELECT (n) ON g TO amy",
        "GRANT ALL ON g TO amy WITH GRANT OPTION",
        "GRANT ALL ON SCHEMA gs TO amy",
        "GRANT ALL ON FUNCTION gs.f() TO amy",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO amy",
        "GRANT ALL ON g TO bob WITH GRANT OPTION",
        "SET ROLE bob",
        "GRANT SELECT (m), UPDATE ON g TO amy",
        "RESET ROLE",
    ),
}


@pytest.mark.parametrize("name", GRANTS)
def test_a_revoke_takes_back_what_was_granted_in_any_form(shared: Case, name: str) -> None:
    shared.accounts.create_database(NewDatabase(name="other"))
    shared.accounts.grant(AMY, "other")
    root = shared.accounts.enable_root(PASSWORD)
    shared.run(root, *GRANTS[name])
    with (
        closing(shared.connect("amy")) as session,
        closing(shared.connect("amy", database="other")) as elsewhere,
        closing(shared.connect("bob")) as bobs,
    ):
        shared.accounts.revoke(AMY, "app")
        with pytest.raises(shared.dialect.refused):
            shared.ask(session, "SELECT 1")
        with pytest.raises(shared.dialect.refused):
            shared.connect("amy")
        assert shared.ask(elsewhere, "SELECT 1") == shared.ask(bobs, "SELECT 1") == [(1,)]
    assert [each.databases for each in shared.accounts.list_users()] == [("other",), ("app",)]
    with closing(shared.administer("app")) as admin:
        assert shared.ask(admin, "SELECT 1 FROM pg_shdepend WHERE refobjid = 'amy'::regrole AND dbid = "
                                 "(SELECT oid FROM pg_database WHERE datname = 'app')") == []  # fmt: skip
        assert shared.ask(admin, "SELECT 1 FROM pg_shdepend WHERE refobjid = 'amy'::regrole AND dbid = 0 AND "
                                 "objid = (SELECT oid FROM pg_database WHERE datname = 'app')") == []  # fmt: skip
    with pytest.raises(NotFound):
        shared.accounts.revoke(AMY, "app")


def test_giving_the_owning_role_up_gives_no_more_and_makes_nothing(shared: Case) -> None:
    with closing(shared.connect("amy")) as connection:
        shared.ask(connection, "CREATE TABLE t (n int)")
        shared.ask(connection, "SET ROLE NONE")
        for statement in (
            "CREATE TABLE u (n int)",
            "CREATE SCHEMA s",
            "SELECT * FROM t",
            "CREATE TEMP TABLE v (n int)",
        ):
            with pytest.raises(shared.dialect.refused):
                shared.ask(connection, statement)
        shared.ask(connection, "RESET ROLE")
        shared.ask(connection, "SELECT * FROM t")


# -- instances of older guests -------------------------------------------------------------------------------------------

OLD = (
    "CREATE DATABASE old TEMPLATE template0",
    "REVOKE ALL ON DATABASE old FROM PUBLIC",
    "GRANT ALL ON DATABASE postgres TO PUBLIC",
    "GRANT CONNECT ON DATABASE template1 TO PUBLIC",
    "CREATE ROLE una LOGIN",
    "CREATE ROLE uno LOGIN",
    "GRANT ALL ON DATABASE old TO una, uno",
)
OLD_INSIDE = (
    "GRANT USAGE, CREATE ON SCHEMA public TO una, uno",
    "SET ROLE una",
    "CREATE TABLE public.t (n serial, m int GENERATED ALWAYS AS IDENTITY)",
    "RESET ROLE",
    "CREATE EXTENSION citext SCHEMA public",
    "CREATE SCHEMA s",
    "CREATE TABLE s.t (n serial PRIMARY KEY, m int GENERATED ALWAYS AS IDENTITY)",
    "CREATE TABLE s.p (n int) PARTITION BY LIST (n)",
    "CREATE TABLE s.p1 PARTITION OF s.p DEFAULT",
    "CREATE VIEW s.v AS SELECT 1 AS n",
    "CREATE MATERIALIZED VIEW s.m AS SELECT 1 AS n",
    "CREATE SEQUENCE s.q",
    "CREATE FUNCTION s.\"f %s\"(int, text) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "CREATE PROCEDURE s.pr() LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE s.a(int) (SFUNC = int4pl, STYPE = int)",
    "CREATE TYPE s.e AS ENUM ('a')",
    "CREATE TYPE s.c AS (n int)",
    "CREATE TYPE s.r AS RANGE (SUBTYPE = int)",
    "CREATE DOMAIN s.d AS int",
    "CREATE FUNCTION s.eq(int, int) RETURNS bool LANGUAGE sql AS 'SELECT $1 = $2'",
    "CREATE OPERATOR s.=== (FUNCTION = s.eq, LEFTARG = int, RIGHTARG = int)",
    "CREATE OPERATOR FAMILY s.fam USING btree",
    "CREATE OPERATOR CLASS s.cls FOR TYPE int USING btree FAMILY s.fam AS STORAGE int",
    'CREATE COLLATION s.co FROM "C"',
    "CREATE CONVERSION s.cv FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",
    "CREATE TEXT SEARCH DICTIONARY s.td (TEMPLATE = simple)",
    "CREATE TEXT SEARCH CONFIGURATION s.tc (COPY = simple)",
    "CREATE STATISTICS s.st ON n, m FROM s.t",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE SERVER srv FOREIGN DATA WRAPPER w",
    "CREATE PUBLICATION pub FOR ALL TABLES",
    "SELECT lo_create(4712)",
    "CREATE FUNCTION s.et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER et ON ddl_command_start EXECUTE FUNCTION s.et()",
)


def test_what_an_older_guest_gave_the_administrator_is_handed_over(case: Case) -> None:
    for database, statements in (("postgres", OLD), ("old", OLD_INSIDE)):
        with closing(case.administer(database)) as admin:
            for statement in statements:
                case.ask(admin, statement)
    before = case.owned_by_administrator()
    assert len(before["old"]) > 25
    case.engine.start()
    assert case.owned_by_administrator() == {}
    assert [(each.name, each.databases) for each in case.accounts.list_users()] == [
        ("una", ("old",)),
        ("uno", ("old",)),
    ]
    with closing(case.administer("old")) as admin:
        for user in ("una", "uno"):
            case.ask(admin, f"SET SESSION AUTHORIZATION {user}")
            case.ask(admin, "SET ROLE NONE")
            case.ask(admin, "DO $$BEGIN EXECUTE (SELECT format('SET ROLE %s', datdba::regrole) FROM pg_database"
                            " WHERE datname = current_database()); END$$")  # fmt: skip
            case.ask(admin, "ALTER TABLE public.t ADD COLUMN IF NOT EXISTS c int")
            case.ask(admin, "RESET SESSION AUTHORIZATION")
        rights = "SELECT has_database_privilege('una', d, 'CONNECT') FROM unnest(ARRAY['postgres', 'template1']) d"
        assert case.ask(admin, rights) == [(False,), (False,)]
    for user in ("una", "uno"):
        case.accounts.delete_user(UserName(name=user))
    case.accounts.delete_database("old")


# -- deletions -----------------------------------------------------------------------------------------------------------


def test_large_objects_in_the_engine_s_databases_keep_no_user(shared: Case) -> None:
    for database in ("postgres", "template1"):
        with closing(shared.administer(database)) as admin:
            shared.ask(admin, "SET ROLE amy")
            shared.ask(admin, "SELECT lo_create(0)")
    shared.accounts.delete_user(AMY)
    with closing(shared.administer()) as admin:
        assert shared.ask(admin, "SELECT 1 FROM pg_roles WHERE rolname = 'amy' OR rolname LIKE 'coffer_deleted%'") == []


def test_a_user_is_deleted_even_if_what_it_owns_is_locked(shared: Case) -> None:
    root = shared.accounts.enable_root(PASSWORD)
    shared.run(root, "CREATE TABLE t (n int)", "ALTER TABLE t OWNER TO amy", "GRANT ALL ON t TO bob")
    with closing(shared.connect(root)) as session:
        shared.ask(session, "BEGIN")
        shared.ask(session, "SELECT * FROM t")
        shared.accounts.delete_user(AMY)
        with pytest.raises(shared.dialect.refused):
            shared.connect("amy")
        assert [each.name for each in shared.accounts.list_users()] == ["bob"]
        shared.run("bob", "INSERT INTO t VALUES (1)")
    shared.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
    shared.accounts.disable_root()  # any later deletion hands over what was left
    shared.run("amy", "DROP TABLE t")
    with closing(shared.administer()) as admin:
        assert shared.ask(admin, "SELECT 1 FROM pg_roles WHERE rolname LIKE 'coffer_deleted%'") == []


def test_a_database_is_deleted_with_what_holds_it(shared: Case) -> None:
    root = shared.accounts.enable_root(PASSWORD)
    shared.run(
        root,
        "CREATE PUBLICATION p",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false, slot_name = NONE)",
        "ALTER DATABASE app IS_TEMPLATE true",
    )
    session = shared.connect("amy")
    shared.accounts.delete_database("app")
    with pytest.raises(shared.dialect.refused):
        shared.ask(session, "SELECT 1")
    with closing(shared.administer()) as admin:
        assert shared.ask(admin, "SELECT 1 FROM pg_roles WHERE rolname LIKE 'coffer_owner%'") == []


def test_a_database_that_takes_no_connections_keeps_no_user(shared: Case) -> None:
    root = shared.accounts.enable_root(PASSWORD)
    shared.run(root, "CREATE TABLE t (n int)", "ALTER TABLE t OWNER TO amy")
    shared.run(root, "ALTER DATABASE app ALLOW_CONNECTIONS false", database="postgres")
    shared.accounts.delete_user(AMY)
    with closing(shared.administer()) as admin:
        assert shared.ask(admin, "SELECT 1 FROM pg_roles WHERE rolname LIKE 'coffer_deleted%'") == []
        assert shared.ask(admin, "SELECT datallowconn FROM pg_database WHERE datname = 'app'") == [(False,)]
    shared.accounts.grant(BOB, "app")
    shared.run("bob", "DROP TABLE t")


# -- what is there gets what is missing ----------------------------------------------------------------------------------

HALF_MADE: dict[str, tuple[str, ...]] = {
    "the database open to all": ("GRANT ALL ON DATABASE app TO PUBLIC",),
    "the database closed": ("ALTER DATABASE app ALLOW_CONNECTIONS false",),
    "the database without its owner": ("ALTER DATABASE app OWNER TO os_admin",),
    "the user without membership": (
        "DO $$BEGIN EXECUTE (SELECT format('REVOKE %s FROM amy', datdba::regrole) FROM pg_database"
        " WHERE datname = 'app'); END$$",
    ),
    "the user without a login": ("ALTER ROLE amy IN DATABASE app RESET ALL", "REVOKE ALL ON DATABASE app FROM amy"),
    "the user with another password": ("ALTER ROLE amy PASSWORD 'x' VALID UNTIL '2020-01-01'",),
}


@pytest.mark.parametrize("name", HALF_MADE)
def test_what_is_there_gets_what_is_missing(shared: Case, name: str) -> None:
    with closing(shared.administer()) as admin:
        for statement in HALF_MADE[name]:
            shared.ask(admin, statement)
    shared.accounts.create_database(NewDatabase(name="app"))
    shared.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
    shared.accounts.create_user(PlainUser(UserName(name="eve"), PASSWORD))
    shared.run("amy", "CREATE TABLE t (n int)")
    shared.accounts.grant(BOB, "app")
    shared.run("bob", "DROP TABLE t")
    with pytest.raises(shared.dialect.refused):
        shared.connect("eve")


# -- encodings and names -------------------------------------------------------------------------------------------------

ENCODINGS = (
    "UTF8 utf-8 unicode LATIN1 iso-8859-1 LATIN9 latin10 SQL_ASCII EUC_JP euc-kr MULE_INTERNAL WIN1252 windows-1251 koi8 KOI8U "
    "SJIS BIG5 GBK UTF16 nonsense é '"
).split()
LOCALES = (None, "C", "POSIX", "C.UTF-8", "C.utf8", "C.LATIN1", "en_US.utf8", "c", "posix", "nonsense", "C ")


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
def test_the_facts_take_what_the_engine_takes(case: Case, encoding: str | None) -> None:
    for locale in LOCALES:
        database = NewDatabase(name="enc", character_set=encoding, collate=locale)
        try:
            POSTGRESQL.check_database(database)
        except ValueError:
            if locale is not None:
                assert not _engine_takes(case, encoding or "UTF8", locale), f"{encoding} with {locale}"
            with pytest.raises(BadRequest):
                case.accounts.create_database(database)
            continue
        case.accounts.check_database(database)
        case.accounts.create_database(database)
        case.accounts.create_user(PlainUser(AMY, PASSWORD, ("enc",)))
        with closing(case.administer()) as admin:
            shown = case.ask(
                admin, "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'enc'"
            )
        assert shown[0][0] == encoding_of(database)[0]
        case.accounts.revoke(AMY, "enc")
        case.accounts.grant(AMY, "enc")
        case.accounts.delete_user(AMY)
        case.accounts.delete_database("enc")


def _engine_takes(case: Case, encoding: str, locale: str) -> bool:
    with closing(case.administer()) as admin:
        try:
            quoted = locale.replace("'", "''"), encoding.replace("'", "''")
            case.ask(admin, "CREATE DATABASE tried TEMPLATE template0 LOCALE '{}' ENCODING '{}'".format(*quoted))
        except case.dialect.refused:
            return False
        case.ask(admin, "DROP DATABASE tried")
        return True


@pytest.mark.parametrize(
    "name", ["pg_monitor", "pg_x", "PG_x", "Pg_Monitor", "coffer_owner_1", "Coffer_Deleted_1", "OS_ADMIN"]
)
def test_reserved_names_are_refused_before_anything(shared: Case, name: str) -> None:
    user = UserName(name=name)
    calls: list[Callable[[], None]] = [
        lambda: shared.accounts.delete_user(user),
        lambda: shared.accounts.grant(user, "app"),
        lambda: shared.accounts.revoke(user, "app"),
        lambda: shared.accounts.set_password(user, PASSWORD),
        lambda: shared.accounts.rename_user(user, UserName(name="free")),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    with pytest.raises(BadRequest):
        shared.accounts.create_user(PlainUser(user, PASSWORD, ("app",)))
    with pytest.raises(BadRequest):
        shared.accounts.rename_user(AMY, user)


def test_a_user_of_many_databases_is_deleted_in_time(case: Case) -> None:
    names = [f"many{number}" for number in range(15)]
    for name in names:
        case.accounts.create_database(NewDatabase(name=name))
    case.accounts.create_user(PlainUser(AMY, PASSWORD, tuple(names)))
    began = time.monotonic()
    case.accounts.delete_user(AMY)
    assert time.monotonic() - began < 8  # the API answers within 10
    assert case.accounts.list_users() == ()
    for name in names:
        case.accounts.delete_database(name)
    assert case.accounts.list_databases() == ()


BREAK_OFF = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE%' AND state = 'active'"


@pytest.mark.parametrize("after", [0.0, 0.005, 0.02, 0.06])
def test_a_drop_that_is_broken_off_is_a_deletion_or_none(app: Case, after: float) -> None:
    """PostgreSQL marks a database before it drops it, and takes that back no more."""
    over = threading.Event()

    def break_off() -> None:
        with closing(app.administer("postgres")) as admin:
            while not over.is_set():
                if app.ask(admin, BREAK_OFF.replace("pg_cancel_backend(pid)", "pid")):
                    time.sleep(after)
                    app.ask(admin, BREAK_OFF)
                    return

    thread = threading.Thread(target=break_off)
    thread.start()
    try:
        app.accounts.delete_database("app")
    except Busy:
        app.run("amy", "SELECT 1")
        assert "app" in app.accounts.list_databases()
    else:
        with pytest.raises(NotFound):
            app.accounts.delete_database("app")
        app.accounts.create_database(NewDatabase(name="app"))
        app.accounts.grant(AMY, "app")
        app.run("amy", "CREATE TABLE t (n int)")
    finally:
        over.set()
        thread.join()


def test_the_name_of_an_invalid_database_is_free(app: Case) -> None:
    with closing(app.administer("postgres")) as admin:
        app.ask(admin, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'app'")
    assert app.accounts.list_databases() == ()
    app.accounts.create_database(NewDatabase(name="app"))
    app.accounts.grant(AMY, "app")
    app.run("amy", "CREATE TABLE t (n int)")
