"""What a tenant's user leaves lying never runs with the administrator's rights, whatever is asked of the service."""

from contextlib import suppress
from typing import Any

import pytest

from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, PASSWORD, Case
from tests.contracts.engines import each
from tests.contracts.tables import Trap
from tests.contracts.verbs import VERBS

USERS = ("amy", "bob", "eve", "eva")


def delete_app(accounts: Any) -> None:
    """The last verb: it takes away what the traps lie in."""
    accounts.delete_database("app")


@each("traps")
def test_no_verb_gives_more_rights(shared: Case, trap: Trap) -> None:
    shared.run("amy", *shared.dialect.attempt)
    if trap.by_root:
        root = shared.accounts.enable_root(PASSWORD)
        shared.run(root, *trap.lay)
        shared.accounts.disable_root()
    else:
        shared.run("amy", *trap.lay)
    for name, verb in (*VERBS.items(), ("delete_database", delete_app)):
        verb(shared.accounts)
        for user in ("amy", "bob"):
            for statement in trap.spring:
                with suppress(*shared.dialect.refused):
                    shared.run(user, statement)
        assert {user: shared.powers(user) for user in USERS} == {user: [] for user in USERS}, f"after {name}"
        assert shared.owned_by_administrator() == {}, f"after {name}"


@each("traps")
def test_nothing_keeps_an_account_or_a_database(shared: Case, trap: Trap) -> None:
    shared.run("amy", *shared.dialect.attempt)
    user = shared.accounts.enable_root(PASSWORD) if trap.by_root else "amy"
    shared.run(user, *trap.lay)
    shared.accounts.delete_user(AMY)
    with pytest.raises(shared.dialect.refused):
        shared.connect("amy", database="")
    shared.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
    shared.accounts.delete_database("app")
    assert "app" not in shared.accounts.list_databases()


def test_a_deleted_user_is_gone_at_once(shared: Case) -> None:
    session = shared.connect("amy")
    shared.accounts.delete_user(AMY)
    with pytest.raises(shared.dialect.refused):
        shared.ask(session, "SELECT 1")
    with pytest.raises(shared.dialect.refused):
        shared.connect("amy")
