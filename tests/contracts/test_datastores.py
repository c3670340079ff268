"""What every driver must be able to do, asked of the real engines over TCP."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.datastores import DATASTORES
from contract.domain.errors import AlreadyExists, BadRequest, EngineFailed, NotFound
from guest_worker.datastores import managers
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, PASSWORD, Case
from tests.contracts.engines import MISSING
from tests.machine import kill_below, processes_below


def test_every_datastore_of_the_catalogue_has_a_driver() -> None:
    assert set(managers()) == set(DATASTORES)


@pytest.mark.parametrize("manager", MISSING)
def test_an_engine_that_is_not_here_is_not_tested(manager: str) -> None:
    pytest.skip(f"{manager} is not on this machine")


def test_every_verb_may_come_twice(app: Case) -> None:
    with app.connect() as connection:
        app.ask(connection, "CREATE TABLE t (n int)")
    app.engine.initialise()
    app.engine.configure(1024, {})
    app.engine.start()
    with app.connect() as connection:
        assert app.ask(connection, "SELECT count(*) FROM t") == [(0,)]


def test_it_knows_its_version(case: Case) -> None:
    assert case.engine.version()[0].isdigit()
    assert "-" not in case.engine.version()


def test_a_restart_keeps_the_data_and_stop_leaves_no_process(app: Case) -> None:
    with app.connect() as connection:
        app.ask(connection, "CREATE TABLE t (n int)")
        app.ask(connection, "INSERT INTO t VALUES (1)")
    app.engine.stop()
    app.engine.stop()
    assert not app.engine.runs()
    assert processes_below(app.folder) == []
    with pytest.raises(app.dialect.refused):
        app.connect()
    app.engine.start()
    with app.connect() as connection:
        assert app.ask(connection, "SELECT n FROM t") == [(1,)]


def test_after_kill_9_it_starts_on_its_data(app: Case) -> None:
    with app.connect() as connection:
        app.ask(connection, "CREATE TABLE t (n int)")
        app.ask(connection, "INSERT INTO t VALUES (1)")
    kill_below(app.folder)
    assert not app.engine.answers()
    app.engine.start()
    with app.connect() as connection:
        assert app.ask(connection, "SELECT n FROM t") == [(1,)]


@pytest.mark.parametrize("memory", [1024, 4096])
def test_memory_follows_the_flavor(app: Case, memory: int) -> None:
    app.engine.stop()
    app.engine.configure(memory, {})
    app.engine.start()
    with app.connect() as connection:
        ((size,),) = app.ask(connection, app.dialect.memory_question)
    share = int(size) / (memory * 2**20)
    assert 0.15 <= share <= 0.7, f"{size} bytes of {memory} MiB"


def test_an_engine_that_does_not_start_says_why(app: Case) -> None:
    app.engine.stop()
    app.engine.configure(1024, {"no_such_setting_at_all": "1"})
    try:
        with pytest.raises(EngineFailed, match=r"no_such_setting_at_all|unknown|unrecognized"):
            app.engine.start()
        assert processes_below(app.folder) == []
    finally:
        app.engine.configure(1024, {})
        app.engine.start()


@pytest.mark.parametrize(
    "name", ["app2", "o'brien", 'dou"ble', "with space", "under_score", "per%cent", "Größe", "semi;--"]
)
def test_any_name_that_is_let_in_works(app: Case, name: str) -> None:
    try:
        app.engine.accounts.create_database(NewDatabase(name=name))
    except BadRequest:
        assert name not in app.engine.accounts.list_databases()
        return
    assert name in app.engine.accounts.list_databases()
    app.engine.accounts.create_user(PlainUser(UserName(name="bob"), PASSWORD, (name,)))
    assert [user.databases for user in app.engine.accounts.list_users() if user.name == "bob"] == [(name,)]
    with app.connect("bob", PASSWORD, name) as connection:
        app.ask(connection, "CREATE TABLE t (n int)")
    app.engine.accounts.delete_database(name)
    assert name not in app.engine.accounts.list_databases()
    assert [user.databases for user in app.engine.accounts.list_users() if user.name == "bob"] == [()]


def test_a_wildcard_in_a_name_grants_nothing_else(app: Case) -> None:
    app.engine.accounts.create_database(NewDatabase(name="a_b"))
    app.engine.accounts.create_database(NewDatabase(name="axb"))
    app.engine.accounts.create_user(PlainUser(UserName(name="bob"), PASSWORD, ("a_b",)))
    app.connect("bob", PASSWORD, "a_b").close()
    with pytest.raises(app.dialect.refused):
        app.connect("bob", PASSWORD, "axb")


def test_what_is_not_there_is_not_found(app: Case) -> None:
    accounts = app.engine.accounts
    app.connect().close()
    ghost = UserName(name="ghost")
    calls: list[Callable[[], Any]] = [
        lambda: accounts.delete_database("ghost"),
        lambda: accounts.delete_user(ghost),
        lambda: accounts.rename_user(ghost, UserName(name="g2")),
        lambda: accounts.set_password(ghost, "x"),
        lambda: accounts.grant(ghost, "app"),
        lambda: accounts.grant(AMY, "ghost"),
        lambda: accounts.revoke(ghost, "app"),
        lambda: accounts.create_user(PlainUser(ghost, "x", ("no such",))),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert [each.name for each in accounts.list_users()] == ["amy"]


def test_a_user_sees_its_own_databases_alone(app: Case) -> None:
    app.engine.accounts.create_database(NewDatabase(name="secret"))
    with pytest.raises(app.dialect.refused):
        app.connect(database="secret")
    app.engine.accounts.grant(AMY, "secret")
    app.connect(database="secret").close()


def test_revoking_counts_for_open_sessions(app: Case) -> None:
    connection = app.connect()
    app.ask(connection, "CREATE TABLE t (n int)")
    app.engine.accounts.revoke(AMY, "app")
    with pytest.raises(app.dialect.refused):
        app.ask(connection, "INSERT INTO t VALUES (1)")
    with pytest.raises(app.dialect.refused):
        app.connect()
    with pytest.raises(NotFound):
        app.engine.accounts.revoke(AMY, "app")


def test_renaming_keeps_password_and_grants(app: Case) -> None:
    app.engine.accounts.create_user(PlainUser(UserName(name="bob"), "other"))
    with pytest.raises(AlreadyExists):
        app.engine.accounts.rename_user(AMY, UserName(name="bob"))
    app.engine.accounts.rename_user(AMY, UserName(name="anna"))
    app.connect("anna").close()
    with pytest.raises(app.dialect.refused):
        app.connect("amy")


def test_a_new_password_replaces_the_old_one(app: Case) -> None:
    app.engine.accounts.set_password(AMY, "new 'one")
    app.connect(password="new 'one").close()
    with pytest.raises(app.dialect.refused):
        app.connect()


def test_a_user_that_owns_tables_can_be_deleted_and_its_tables_stay(app: Case) -> None:
    with app.connect() as connection:
        app.ask(connection, "CREATE TABLE t (n int)")
    app.engine.accounts.delete_user(AMY)
    app.engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
    with app.connect() as connection:
        assert app.ask(connection, "SELECT count(*) FROM t") == [(0,)]


def test_root_is_enabled_and_disabled(app: Case) -> None:
    name = app.engine.accounts.enable_root("root 'secret")
    with app.connect(name, "root 'secret", "app") as connection:
        app.ask(connection, "CREATE DATABASE made_by_root")
    assert name not in [each.name for each in app.engine.accounts.list_users()]
    assert app.engine.accounts.enable_root("second") == name
    with pytest.raises(app.dialect.refused):
        app.connect(name, "root 'secret", "app")
    session = app.connect(name, "second", "app")
    app.engine.accounts.disable_root()
    with pytest.raises(app.dialect.refused):
        app.ask(session, "SELECT 1")
    with pytest.raises(app.dialect.refused):
        app.connect(name, "second", "app")


def test_the_engine_s_own_are_hidden_and_safe(case: Case) -> None:
    facts = DATASTORES[case.dialect.manager]
    assert case.engine.accounts.list_databases() == ()
    assert case.engine.accounts.list_users() == ()
    for name in facts.reserved_databases:
        with pytest.raises(NotFound):
            case.engine.accounts.delete_database(name)
        with pytest.raises((BadRequest, AlreadyExists)):
            case.engine.accounts.create_database(NewDatabase(name=name))
    for name in facts.reserved_users:
        with pytest.raises(NotFound):
            case.engine.accounts.delete_user(UserName(name=name))
        with pytest.raises(NotFound):
            case.engine.accounts.set_password(UserName(name=name), "mine now")


def test_nobody_gets_in_without_a_password(case: Case) -> None:
    for name in (*DATASTORES[case.dialect.manager].reserved_users, "", "postgres", "root", "mysql"):
        with pytest.raises(case.dialect.refused):
            case.connect(name, "", "")


def test_no_secret_is_in_a_process_s_arguments(app: Case) -> None:
    shown = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, text=True).stdout
    assert not app.secret or app.secret not in shown
    assert PASSWORD not in shown


def test_a_password_that_was_replaced_can_be_put_back(app: Case) -> None:
    before = app.engine.accounts.credential(AMY)
    assert PASSWORD not in before
    app.engine.accounts.set_password(AMY, "another")
    app.engine.accounts.restore_credential(AMY, before)
    app.connect().close()
    with pytest.raises(app.dialect.refused):
        app.connect(password="another")
    assert app.engine.accounts.credential(UserName(name="ghost")) is None


def test_root_s_password_can_be_put_back(app: Case) -> None:
    root = UserName(name=app.engine.accounts.enable_root("first"))
    before = app.engine.accounts.credential(root)
    app.engine.accounts.disable_root()
    app.engine.accounts.restore_credential(root, before)
    app.connect(root.name, "first", "app").close()
