"""Tenants who hold all connections that they can get do not lock the service out."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import Busy
from guest_worker.datastores.base import EngineState, PlainUser
from tests.contracts.conftest import AMY, BOB, PASSWORD, Case
from tests.contracts.engines import each
from tests.contracts.tables import Hold

EVE = UserName(name="eve")
LONGEST = 5.0  # seconds; twice what it may take on a machine that has nothing else to do
# One after the other; the last one ends root's sessions.
VERBS: dict[str, Callable[[Any], Any]] = {
    "list_users": lambda accounts: accounts.list_users(),
    "list_databases": lambda accounts: accounts.list_databases(),
    "create_database": lambda accounts: accounts.create_database(NewDatabase(name="other")),
    "create_user": lambda accounts: accounts.create_user(PlainUser(EVE, PASSWORD, ("other",))),
    "grant": lambda accounts: accounts.grant(BOB, "other"),
    "revoke": lambda accounts: accounts.revoke(BOB, "other"),
    "set_password": lambda accounts: accounts.set_password(AMY, PASSWORD),
    "rename_user": lambda accounts: accounts.rename_user(EVE, UserName(name="eva")),
    "delete_user": lambda accounts: accounts.delete_user(UserName(name="eva")),
    "delete_database": lambda accounts: accounts.delete_database("other"),
}


@contextmanager
def all_connections(case: Case, user: str) -> Iterator[list[Any]]:
    """Held by a user, until the engine refuses more."""
    held: list[Any] = []
    try:
        with suppress(*case.dialect.refused):
            while len(held) < 400:
                held.append(case.connect(user))
        assert len(held) < 400
        yield held
    finally:
        for each in held:
            with suppress(*case.dialect.refused):
                each.close()


def test_the_service_works_while_users_hold_all_connections(shared: Case) -> None:
    with all_connections(shared, "amy") as held:
        for name, verb in VERBS.items():
            assert shared.engine.probe().state is EngineState.ANSWERS, name
            verb(shared.accounts)
            with suppress(*shared.dialect.refused):  # whatever became free is taken, too
                held.append(shared.connect("amy"))
        shared.accounts.enable_root(PASSWORD)
        shared.accounts.disable_root()
    assert shared.accounts.list_databases() == ("app",)


def test_the_service_works_while_users_hold_all_connections_and_its_own_are_lost(shared: Case) -> None:
    with all_connections(shared, "amy"):
        shared.engine.call("_prober.close")
        shared.engine.call("session.close")
        assert shared.accounts.list_databases() == ("app",)
        assert shared.engine.probe().state is EngineState.ANSWERS
        shared.accounts.set_password(AMY, PASSWORD)
        shared.accounts.delete_user(AMY)
        assert shared.engine.probe().state is EngineState.ANSWERS
    assert "amy" not in {each.name for each in shared.accounts.list_users()}


def test_root_holds_all_connections(shared: Case) -> None:
    root = shared.accounts.enable_root(PASSWORD)
    with all_connections(shared, root):
        assert shared.engine.probe().state is EngineState.ANSWERS
        assert shared.accounts.list_databases() == ("app",)
        assert {"amy", "bob"} <= {each.name for each in shared.accounts.list_users()}
        shared.accounts.set_password(AMY, PASSWORD)
        shared.accounts.create_user(PlainUser(EVE, PASSWORD))
        shared.accounts.delete_user(EVE)
        shared.accounts.disable_root()
    shared.connect("amy").close()


@each("root_holds")
def test_a_list_that_must_log_in_first_is_answered_or_refused_in_time(shared: Case, root_hold: Hold) -> None:
    root = shared.accounts.enable_root(PASSWORD)
    with closing(shared.connect(root, database=root_hold.database)) as session:
        for statement in root_hold.statements:
            shared.ask(session, statement)
        shared.engine.call("session.close")
        for listed in (shared.accounts.list_databases, shared.accounts.list_users):
            began = time.monotonic()
            with suppress(Busy):
                listed()
            assert time.monotonic() - began < LONGEST
