"""What granted users make belongs to the database: the others use it and change it, now and later."""

import pytest

from contract.domain.errors import NotFound
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, BOB, PASSWORD, Case
from tests.contracts.engines import each
from tests.contracts.tables import Thing
from tests.contracts.verbs import VERBS


@each("things")
def test_what_one_makes_the_other_uses_and_changes(shared: Case, thing: Thing) -> None:
    shared.run("amy", *thing.make)
    shared.run("bob", *thing.use, *thing.change)


@each("things")
def test_it_stays_in_use_when_its_maker_is_deleted(shared: Case, thing: Thing) -> None:
    shared.run("amy", *thing.make)
    shared.accounts.delete_user(AMY)
    shared.run("bob", *thing.use)
    shared.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
    shared.run("amy", *thing.use, *thing.change)


@each("things")
def test_it_stays_in_use_when_its_maker_loses_access(shared: Case, thing: Thing) -> None:
    shared.run("amy", *thing.make)
    shared.accounts.revoke(AMY, "app")
    with pytest.raises(shared.dialect.refused):
        shared.connect("amy")
    shared.run("bob", *thing.use, *thing.change)


@each("things")
def test_whoever_is_granted_later_has_all(shared: Case, thing: Thing) -> None:
    shared.accounts.revoke(BOB, "app")
    shared.run("amy", *thing.make)
    shared.accounts.grant(BOB, "app")
    shared.run("bob", *thing.use, *thing.change)


@each("things")
def test_nothing_is_the_administrator_s_after_any_verb(shared: Case, thing: Thing) -> None:
    shared.run("amy", *thing.make)
    for name, verb in VERBS.items():
        verb(shared.accounts)
        assert shared.owned_by_administrator() == {}, f"after {name}"
    with pytest.raises(NotFound):
        shared.accounts.revoke(BOB, "app")
