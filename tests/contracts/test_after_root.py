"""When root is disabled, nothing that it left behind has more rights than an ordinary user of the tenant's has."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from tests.contracts.conftest import PASSWORD, Case
from tests.contracts.engines import each
from tests.contracts.tables import Leftover


@pytest.fixture
def prey(shared: Case) -> Iterator[Case]:
    """With tables of the tenant's; what a trap left outside of `app` is gone afterwards."""
    shared.run("amy", "CREATE TABLE t (n int)", "CREATE TABLE u (n int)", "CREATE TABLE loot (name varchar(80))")
    yield shared
    with closing(shared.administer()) as connection:
        for statement in shared.dialect.clean:
            shared.ask(connection, statement)


@contextmanager
def at_work(case: Case, statement: str) -> Iterator[None]:
    """While amy does this."""
    if not statement:
        yield
        return
    connection = case.connect("amy")

    def work() -> None:
        with suppress(Exception):
            for each in statement.split("; "):
                with suppress(*case.dialect.refused):
                    case.ask(connection, each)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    connection.close()


def wait_for(case: Case, question: str) -> None:
    """Until there is an answer."""
    deadline = time.monotonic() + 30
    with closing(case.administer("app")) as connection:
        while question and not case.ask(connection, question):
            assert time.monotonic() < deadline, question
            time.sleep(0.05)


@each("left")
def test_nobody_has_more_than_before(prey: Case, left: Leftover) -> None:
    prey.run(prey.accounts.enable_root(PASSWORD), *left.lay)
    with at_work(prey, left.session):
        wait_for(prey, left.wait)
        prey.accounts.disable_root()
        spring(prey, left)
    powerless(prey, left)
    prey.accounts.enable_root(PASSWORD)  # which gives nothing back to anybody else
    prey.accounts.disable_root()
    spring(prey, left)
    powerless(prey, left)


def spring(case: Case, left: Leftover) -> None:
    """Whatever users try."""
    case.run("bob", "DELETE FROM loot")
    for user in ("amy", "bob"):
        for statement in left.spring:
            with suppress(*case.dialect.refused):
                case.run(user, statement)
    time.sleep(left.patience)


def powerless(case: Case, left: Leftover) -> None:
    """Nobody has power, nothing was taken, and users work as ever."""
    with closing(case.administer("app")) as connection:
        for statement in case.dialect.believe:
            case.ask(connection, statement)
        assert list(case.ask(connection, case.dialect.powerful)) == []
    with closing(case.connect("bob")) as connection:
        assert list(case.ask(connection, "SELECT * FROM loot")) == []
    for name in (*left.gone, "root"):
        for password in ("mine", PASSWORD):
            with pytest.raises(case.dialect.refused):
                case.connect(name, password, "").close()
    assert case.owned_by_administrator() == {}
    case.run("bob", "INSERT INTO t VALUES (1)", "DELETE FROM t")
    assert {"amy", "bob"} <= {each.name for each in case.accounts.list_users()}


def test_what_root_made_of_tenants_data_goes_on(prey: Case) -> None:
    made, used = prey.dialect.work_of_root
    root = prey.accounts.enable_root(PASSWORD)
    prey.run(root, *made)
    for _ in range(2):
        prey.accounts.disable_root()
        prey.run("bob", *used, "DELETE FROM t", "DELETE FROM u")
        prey.accounts.enable_root(PASSWORD)
