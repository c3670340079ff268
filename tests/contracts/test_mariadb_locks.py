"""A lock in one session never stops the service: a call ends in time, done or refused, and nothing happens later."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pymysql
import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import Busy
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, PASSWORD, Case
from tests.contracts.mariadb import MariaDBDialect
from tests.contracts.tables import Hold

pytestmark = pytest.mark.parametrize("case", ["mariadb"], indirect=True)
TENANTS = [each for each in MariaDBDialect.holds if not each.release]
ROOTS = MariaDBDialect.root_holds
LONGEST = 8.0
SLACK = 2.0  # for a loaded machine


@pytest.fixture
def held(shared: Case) -> Iterator[Case]:
    """With a table `t` in `app`, a database `other`, and root enabled."""
    shared.run("amy", "CREATE TABLE t (n int)", "CREATE TABLE t2 (n int)")
    shared.accounts.create_database(NewDatabase(name="other"))
    shared.accounts.enable_root(PASSWORD)
    with closing(shared.connect("root", PASSWORD, "app")):
        yield shared


def hold(case: Case, stack: ExitStack, wanted: Hold) -> Any:
    """A session that holds locks until the stack ends."""
    session = stack.enter_context(closing(case.connect("root", database="") if wanted in ROOTS else case.connect()))
    for statement in wanted.statements:
        case.ask(session, statement)
    return session


@pytest.mark.parametrize("wanted", TENANTS, ids=lambda each: each.name)
def test_a_database_is_deleted_whoever_holds_it(held: Case, wanted: Hold) -> None:
    with ExitStack() as stack:
        session = hold(held, stack, wanted)
        start = time.monotonic()
        held.accounts.delete_database("app")
        assert time.monotonic() - start < LONGEST
        with pytest.raises(pymysql.err.MySQLError):
            held.ask(session, "INSERT INTO app.t VALUES (2)")
    assert held.accounts.list_databases() == ("other",)


@pytest.mark.parametrize("wanted", [*TENANTS, *ROOTS], ids=lambda each: each.name)
def test_lists_and_health_do_not_wait_for_a_change_that_waits(held: Case, wanted: Hold) -> None:
    """Except where root locked the very tables that are read: then the list is refused, with the reason."""
    with ExitStack() as stack:
        hold(held, stack, wanted)
        change = threading.Thread(
            target=_ignoring(lambda: held.accounts.create_user(PlainUser(UserName(name="e"), "x")))
        )
        change.start()
        time.sleep(0.2)
        for read in (held.engine.answers, held.accounts.list_databases, held.accounts.list_users):
            start = time.monotonic()
            try:
                assert read() or read is held.accounts.list_users
            except Busy as error:
                assert "locked" in wanted.name, error
            assert time.monotonic() - start < LONGEST + SLACK
        change.join()


def _ignoring(work: Any) -> Any:
    def run() -> None:
        try:
            work()
        except Busy:
            return

    return run


def test_a_session_that_does_not_hold_the_database_goes_on(held: Case) -> None:
    held.accounts.grant(AMY, "other")
    with closing(held.connect("amy", database="other")) as session, closing(held.connect("bob")) as holder:
        held.ask(session, "CREATE TABLE t (n int)")
        held.ask(session, "BEGIN")
        held.ask(session, "INSERT INTO t VALUES (1)")
        held.ask(holder, "BEGIN")
        held.ask(holder, "SELECT * FROM t")
        held.accounts.delete_database("app")
        held.ask(session, "COMMIT")
        assert held.ask(session, "SELECT n FROM t") == [(1,)]


def test_a_busy_database_is_deleted(held: Case) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                with closing(held.connect("bob")) as session:
                    while not stop.is_set():
                        for statement in ("BEGIN", "INSERT INTO t VALUES (1)", "SELECT COUNT(*) FROM t2", "COMMIT"):
                            held.ask(session, statement)
            except pymysql.err.MySQLError:
                continue

    workers = [threading.Thread(target=work) for _ in range(3)]
    for each in workers:
        each.start()
    try:
        time.sleep(0.3)
        held.accounts.delete_database("app")
        assert held.accounts.list_databases() == ("other",)
    finally:
        stop.set()
        for each in workers:
            each.join()


def test_a_table_that_other_databases_refer_to_is_said_before_anything_is_dropped(held: Case) -> None:
    held.run("amy", "CREATE TABLE a (n int)", "CREATE TABLE parent (n int PRIMARY KEY)")
    held.accounts.grant(AMY, "other")
    held.run("amy", "CREATE TABLE child (n int, FOREIGN KEY (n) REFERENCES app.parent (n))", database="other")
    with pytest.raises(Busy, match="child"):
        held.accounts.delete_database("app")
    held.run("amy", "SELECT * FROM a", "DROP TABLE other.child")


@pytest.mark.parametrize("mode", ["ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "ORACLE", "ANSI"])
def test_root_s_settings_change_nothing_for_the_service(held: Case, mode: str) -> None:
    held.run("root", f"SET GLOBAL sql_mode = '{mode}'", "SET GLOBAL tx_read_only = 1", "SET GLOBAL read_only = 1")
    try:
        held.engine.stop()  # so that no session of before is used
        held.engine.start()
        held.run("root", f"SET GLOBAL sql_mode = '{mode}'", "SET GLOBAL tx_read_only = 1", "SET GLOBAL read_only = 1")
        held.accounts.create_user(PlainUser(UserName(name="e"), "a\\'b\"", ("app",)))
        held.connect("e", "a\\'b\"").close()
        held.accounts.delete_user(UserName(name="e"))
    finally:
        held.run("root", "SET GLOBAL sql_mode = DEFAULT", "SET GLOBAL tx_read_only = 0", "SET GLOBAL read_only = 0")
