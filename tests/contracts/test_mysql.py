"""What is MySQL's alone: an account that its root cannot reach, roles that are accounts, routines that are recreated."""

import json
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest

from contract.domain.accounts import UserName
from contract.domain.errors import Busy
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, BOB, PASSWORD, Case
from tests.contracts.engines import DIALECTS

pytestmark = pytest.mark.skipif("mysql" not in DIALECTS, reason="mysql is not on this machine")
ROOT = "root's Password 1"
MAKE = ("CREATE TABLE t (n int)", "CREATE PROCEDURE p(IN x int) INSERT INTO t VALUES (x)")


@pytest.fixture
def case(engines: Callable[[str], Case]) -> Case:
    """MySQL."""
    return engines("mysql")


def as_root(case: Case, *statements: str) -> None:
    """What the tenant's root does."""
    case.run(case.accounts.enable_root(ROOT), *statements, password=ROOT)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP USER os_admin@localhost",
        "ALTER USER os_admin@localhost IDENTIFIED BY 'mine'",
        "RENAME USER os_admin@localhost TO gone@localhost",
        "REVOKE CREATE USER ON *.* FROM os_admin@localhost",
        "CREATE DEFINER = os_admin@localhost PROCEDURE app.mine() SELECT 1",
        "UNINSTALL PLUGIN auth_socket",
        "SET GLOBAL offline_mode = 1",
    ],
)
def test_root_does_not_reach_the_administrator_by_statements(app: Case, statement: str) -> None:
    with pytest.raises(app.dialect.refused):
        as_root(app, statement)
    app.engine.call("_prober.close")
    assert app.engine.answers()


def test_root_does_not_end_the_administrator_s_sessions(app: Case) -> None:
    with closing(app.administer()) as ours:
        with pytest.raises(app.dialect.refused):
            as_root(app, f"KILL {ours.thread_id()}")
        assert app.ask(ours, "SELECT 1") == [(1,)]


def test_whoever_is_no_guest_does_not_log_in_as_the_administrator(app: Case) -> None:
    with pytest.raises(app.dialect.refused):
        app.connect("os_admin", "", "")
    with closing(app.administer()) as ours:
        assert app.ask(ours, "SELECT plugin FROM mysql.user WHERE User = 'os_admin'") == [("auth_socket",)]


def test_rights_that_come_with_a_role_are_listed_and_not_taken_back_by_halves(shared: Case) -> None:
    try:
        as_root(shared, "CREATE DATABASE other", "CREATE ROLE readers", "GRANT SELECT ON other.* TO readers",
                "GRANT readers TO amy@'%'")  # fmt: skip
        users = {each.name: each.databases for each in shared.accounts.list_users()}
        assert users == {"amy": ("app", "other"), "bob": ("app",)}
        shared.connect("amy", database="other").close()
        with pytest.raises(Busy, match="comes with role readers"):
            shared.accounts.revoke(AMY, "other")
        as_root(shared, "SET GLOBAL mandatory_roles = 'readers'")
        assert {each.name: each.databases for each in shared.accounts.list_users()}["bob"] == ("app", "other")
    finally:
        as_root(shared, "SET GLOBAL mandatory_roles = ''", "DROP ROLE readers")


def test_rights_on_a_routine_stay_when_it_gets_another_definer(shared: Case) -> None:
    shared.run("amy", *MAKE)
    as_root(shared, "CREATE USER eve@'%' IDENTIFIED BY 'x'", "GRANT EXECUTE ON PROCEDURE app.p TO eve@'%'")
    shared.accounts.revoke(AMY, "app")
    with closing(shared.connect("eve", "x", "app")) as session:
        shared.ask(session, "CALL p(1)")
    with closing(shared.administer()) as ours:
        ((definer,),) = shared.ask(ours, "SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'app'")
    assert definer.startswith("coffer_definer_")


def note(case: Case, *statements: str) -> None:
    """What a guest worker leaves that ended while it made something again."""
    path = case.folder / "state/made_anew.json"
    path.write_text(json.dumps({"database": "app", "statements": statements}))
    path.chmod(0o666)


@pytest.mark.parametrize("dropped", [True, False])
def test_a_routine_that_was_being_made_anew_is_there_after_the_next_start(shared: Case, dropped: bool) -> None:
    shared.run("amy", *MAKE)
    if dropped:
        shared.run("amy", "DROP PROCEDURE p")
    note(shared, "SET SESSION sql_mode = ''", "DROP PROCEDURE IF EXISTS `p`",
         "CREATE DEFINER=`bob`@`%` PROCEDURE `p`(IN x int) INSERT INTO t VALUES (x + 1)")  # fmt: skip
    shared.engine.stop()
    shared.engine.start()
    assert not (shared.folder / "state/made_anew.json").exists()
    shared.run("bob", "CALL p(1)")
    with closing(shared.connect("bob")) as session:
        assert shared.ask(session, "SELECT n FROM t") == [(2 if dropped else 1,)]


def test_what_was_being_made_anew_in_a_database_that_is_gone_is_forgotten(shared: Case) -> None:
    shared.accounts.delete_database("app")
    note(shared, "DROP PROCEDURE IF EXISTS `p`", "CREATE PROCEDURE `p`() SELECT 1")
    shared.engine.stop()
    shared.engine.start()
    assert not (shared.folder / "state/made_anew.json").exists()


def test_a_database_that_another_refers_to_stays_whole(shared: Case) -> None:
    shared.run("amy", "CREATE TABLE t (n int PRIMARY KEY)", "CREATE TABLE u (n int)")
    as_root(shared, "CREATE DATABASE other", "CREATE TABLE other.o (n int, FOREIGN KEY (n) REFERENCES app.t (n))")
    with pytest.raises(Busy, match="foreign key"):
        shared.accounts.delete_database("app")
    with closing(shared.connect("amy")) as session:
        assert len(shared.ask(session, "SHOW TABLES")) == 2
    as_root(shared, "DROP DATABASE other")


def test_hosts_are_as_precise_as_they_are_written(shared: Case) -> None:
    wide, narrow = UserName(name="eve", host="127.%"), UserName(name="eve", host="127.0.0.0/255.0.0.0")
    for user in (wide, narrow):
        shared.accounts.create_user(plain(user))
    sessions: list[Any] = [shared.connect("eve", database="app")]
    shared.accounts.delete_user(narrow)
    shared.accounts.delete_user(wide)
    for session in sessions:
        with suppress(*shared.dialect.refused):
            shared.ask(session, "SELECT 1")
            pytest.fail("a deleted user's session goes on")
    with pytest.raises(shared.dialect.refused):
        shared.connect("eve", database="app")
    assert BOB.name in [each.name for each in shared.accounts.list_users()]


def plain(user: UserName) -> Any:
    """With the password of all, on `app`."""
    return PlainUser(user, PASSWORD, ("app",))
