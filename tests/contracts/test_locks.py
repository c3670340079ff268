"""A session that holds a lock: a verb is done, or refused in time with a sentence, and then nothing of it happens later."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import Busy
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, PASSWORD, Case, in_the_end
from tests.contracts.engines import each
from tests.contracts.tables import Hold
from tests.contracts.verbs import EVE

LONGEST = 9.5  # seconds; the API answers within 10
VERBS: dict[str, Callable[[Any], Any]] = {
    "create_database": lambda accounts: accounts.create_database(NewDatabase(name="app2")),
    "create_user": lambda accounts: accounts.create_user(PlainUser(EVE, PASSWORD, ("app",))),
    "set_password": lambda accounts: accounts.set_password(AMY, PASSWORD),
    "rename_user": lambda accounts: accounts.rename_user(AMY, UserName(name="ann")),
    "grant": lambda accounts: accounts.grant(AMY, "other"),
    "revoke": lambda accounts: accounts.revoke(AMY, "app"),
    "delete_user": lambda accounts: accounts.delete_user(AMY),
    "delete_database": lambda accounts: accounts.delete_database("app"),
}


def released(case: Case, statement: str) -> None:
    """What the end of a session does not release; Busy while the session has not ended."""
    with closing(case.administer()) as connection:
        try:
            case.ask(connection, statement)
        except case.dialect.refused as error:
            raise Busy(str(error)) from error


@each("holds")
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_done_or_refused_in_time_and_not_later(shared: Case, hold: Hold, name: str) -> None:
    accounts = shared.accounts
    accounts.create_database(NewDatabase(name="other"))
    shared.run("amy", "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    before = accounts.list_users(), accounts.list_databases()
    with closing(shared.connect("bob", database=hold.database)) as session:
        for statement in hold.statements:
            shared.ask(session, statement)
        began = time.monotonic()
        refused = ""
        try:
            VERBS[name](accounts)
        except Busy as error:
            refused = str(error)
        assert time.monotonic() - began < LONGEST
        began = time.monotonic()
        with suppress(Busy):
            accounts.list_users()
        assert time.monotonic() - began < LONGEST / 2
        after = accounts.list_users(), accounts.list_databases()
    if hold.release:
        in_the_end(partial(released, shared, hold.release))
    time.sleep(0.3)  # what was queued would happen now
    now = accounts.list_users(), accounts.list_databases()
    assert (now == before) == bool(refused) or name == "set_password"
    assert after == now
    if refused:
        assert "bob" in refused or "locked" in refused
        shared.connect("amy").close()
        VERBS[name](accounts)
