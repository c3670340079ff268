"""What a tenant's root does to the administrator's account is told apart from an engine that is down, and repaired."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import AdministratorRefused, EngineState, PlainUser, Surroundings
from tests.contracts.conftest import AMY, ENGINES, PASSWORD, Case
from tests.contracts.engines import DIALECTS
from tests.elsewhere import Elsewhere, open_folder
from tests.machine import kill_below, loopback
from workflows.domain.accounts import NewDatabase

ROOT = "root's Password 1"
HARM: dict[str, dict[str, list[str]]] = {
    "mariadb": {
        "dropped": ["DROP USER os_admin@localhost"],
        "renamed": ["RENAME USER os_admin@localhost TO gone@localhost"],
        "other password": ["SET PASSWORD FOR os_admin@localhost = PASSWORD('mine')"],
        "other plugin": ["ALTER USER os_admin@localhost IDENTIFIED VIA unix_socket"],
        "no such plugin": ["UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.plugin', 'nonesuch') "
                           "WHERE User = 'os_admin'", "FLUSH PRIVILEGES"],
        "locked": ["ALTER USER os_admin@localhost ACCOUNT LOCK"],
        "expired": ["ALTER USER os_admin@localhost PASSWORD EXPIRE"],
        "must use TLS": ["ALTER USER os_admin@localhost REQUIRE SSL"],
        "one connection": ["ALTER USER os_admin@localhost WITH MAX_USER_CONNECTIONS 1"],
        "few queries": ["ALTER USER os_admin@localhost WITH MAX_QUERIES_PER_HOUR 1"],
        "no rights": ["REVOKE ALL PRIVILEGES, GRANT OPTION FROM os_admin@localhost"],
        "one right less": ["REVOKE CREATE USER ON *.* FROM os_admin@localhost"],
        "no grant option": ["REVOKE GRANT OPTION ON *.* FROM os_admin@localhost"],
        "an impostor": ["DROP USER os_admin@localhost", "CREATE USER os_admin@'%' IDENTIFIED BY 'mine'"],
        "a role of its name": ["DROP USER os_admin@localhost", "CREATE ROLE os_admin"],
        "row deleted": ["DELETE FROM mysql.global_priv WHERE User = 'os_admin'", "FLUSH PRIVILEGES"],
        "row is no JSON": ["UPDATE mysql.global_priv SET Priv = '{}' WHERE User = 'os_admin'", "FLUSH PRIVILEGES"],
    },
    "postgresql": {
        "renamed": ["ALTER ROLE os_admin RENAME TO gone"],
        "demoted": ["ALTER ROLE os_admin NOSUPERUSER"],
        "demoted and renamed": ["ALTER ROLE os_admin NOSUPERUSER", "ALTER ROLE os_admin RENAME TO gone"],
        "may not log in": ["ALTER ROLE os_admin NOLOGIN"],
        "no connection": ["ALTER ROLE os_admin NOSUPERUSER CONNECTION LIMIT 0"],
        "other password": ["ALTER ROLE os_admin PASSWORD 'mine'"],
        "no password": ["ALTER ROLE os_admin PASSWORD NULL"],
        "expired": ["ALTER ROLE os_admin VALID UNTIL '2001-01-01'"],
        "an impostor": ["ALTER ROLE os_admin RENAME TO gone", "CREATE ROLE os_admin LOGIN SUPERUSER PASSWORD 'mine'"],
        "its database dropped": ["DROP DATABASE postgres WITH (FORCE)"],
        "its database renamed": ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'",
                                 "ALTER DATABASE postgres RENAME TO other"],
        "its database closed": ["ALTER DATABASE postgres ALLOW_CONNECTIONS false"],
    },
}  # fmt: skip
HARMLESS: dict[str, dict[str, list[str]]] = {
    "mariadb": {
        "read only": ["SET GLOBAL read_only = 1"],
        "init_connect": ["SET GLOBAL init_connect = 'SELECT nonsense FROM nowhere'"],
        "sql_mode": ["SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ORACLE'"],
        "TLS for everybody": ["SET GLOBAL require_secure_transport = 1"],
    },
    "postgresql": {
        "another role": ["CREATE ROLE nobody_much", "ALTER ROLE os_admin SET role = 'nobody_much'"],
        "search_path": ["ALTER ROLE os_admin SET search_path = 'nowhere'"],
        "read only": ["ALTER ROLE os_admin SET default_transaction_read_only = on"],
        "no time": ["ALTER ROLE os_admin SET statement_timeout = 1"],
        "no library": ["ALTER ROLE os_admin SET session_preload_libraries = 'nonesuch'"],
        "no library in its database": ["ALTER DATABASE postgres SET session_preload_libraries = 'nonesuch'"],
        "no socket": ["ALTER SYSTEM SET unix_socket_directories = '/tmp'", "ALTER SYSTEM SET port = 6000"],
        "no start": ["ALTER SYSTEM SET shared_preload_libraries = 'nonesuch'"],
        "no memory": ["ALTER SYSTEM SET shared_buffers = '900GB'"],
    },
}


@pytest.fixture(scope="module", params=ENGINES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """An engine with a database, a user and root."""
    manager = request.param
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-"))
    folder.chmod(0o755)
    address = loopback()
    around = Surroundings(open_folder(folder / "data"), open_folder(folder / "state"), bind_address=address)
    engine = Elsewhere(open_datastore, manager, around)
    try:
        engine.initialise()
        engine.configure(1024, {})
        engine.start()
        engine.accounts.create_database(NewDatabase(name="app"))
        engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
        yield Case(engine, DIALECTS[manager], folder, address)
    finally:
        kill_below(folder)
        engine.end()
        shutil.rmtree(folder)


def as_root(case: Case, statements: list[str]) -> None:
    """What the tenant's root does."""
    root = case.engine.accounts.enable_root(ROOT)
    with case.connect(root, ROOT, "app") as connection:
        for each in statements:
            case.ask(connection, each)


def serves(case: Case) -> None:
    """The administrator's account and the tenant's data are as they were."""
    assert case.engine.probe().state is EngineState.ANSWERS
    assert "app" in case.engine.accounts.list_databases()
    case.engine.accounts.create_database(NewDatabase(name="more"))
    case.engine.accounts.delete_database("more")
    with case.connect() as connection:
        assert case.ask(connection, "SELECT 1") == [(1,)]


def restored(case: Case) -> None:
    """As the keeper does it."""
    case.engine.stop()
    case.engine.restore_administrator()
    case.engine.start()
    serves(case)


@pytest.mark.parametrize("harm", sorted({name for each in HARM.values() for name in each}))
def test_a_harmed_administrator_is_told_apart_and_restored(case: Case, harm: str) -> None:
    statements = HARM[case.dialect.manager].get(harm)
    if statements is None:
        pytest.skip("not of this engine")
    as_root(case, statements)
    case.engine.call("_prober.close")
    seen = case.engine.probe()
    assert seen.state is EngineState.ADMINISTRATOR_REFUSED, seen
    assert case.engine.runs()
    with case.connect() as connection:
        assert case.ask(connection, "SELECT 1") == [(1,)]
    case.engine.stop()
    with pytest.raises(AdministratorRefused):
        case.engine.start()
    restored(case)


def test_a_lost_password_file_is_made_anew(case: Case) -> None:
    (case.folder / "state/os_admin").unlink()
    case.engine.call("_prober.close")
    assert case.engine.probe().state is EngineState.ADMINISTRATOR_REFUSED
    restored(case)


@pytest.mark.parametrize("harm", sorted({name for each in HARMLESS.values() for name in each}))
def test_what_root_sets_for_everybody_does_not_harm_the_administrator(case: Case, harm: str) -> None:
    statements = HARMLESS[case.dialect.manager].get(harm)
    if statements is None:
        pytest.skip("not of this engine")
    as_root(case, statements)
    case.engine.call("_prober.close")
    assert case.engine.probe().state is EngineState.ANSWERS, case.engine.probe()
    case.engine.stop()
    case.engine.start()
    serves(case)


def test_a_stopped_engine_is_silent_and_not_refused(case: Case) -> None:
    case.engine.stop()
    assert case.engine.probe().state is EngineState.SILENT
    case.engine.start()
    serves(case)


def test_with_all_connections_in_use_it_serves(case: Case) -> None:
    root = case.engine.accounts.enable_root(ROOT)
    case.engine.call("_prober.close")
    held = [case.connect(root, ROOT, "app")]
    try:
        with pytest.raises(case.dialect.refused):
            while len(held) < 300:
                held.append(case.connect(root, ROOT, "app"))
        seen = case.engine.probe()
        assert seen.state is EngineState.ANSWERS
        assert "connections" in seen.words
    finally:
        for each in held:
            each.close()
