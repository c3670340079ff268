"""The administrator's account comes back by itself, whatever of it was lost: in the engine, on the guest's disk, or both."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.domain.accounts import NewDatabase, NewUser
from contract.domain.instance import OperatingStatus
from contract.ports.guest import Accounts, NewDatabases, NewUsers
from guest_worker.supervisor import RESTORING, Condition
from guest_worker.verbs.accounts import EngineAccounts
from tests.contracts.breaking import open_suspicious
from tests.contracts.conftest import PASSWORD
from tests.contracts.engines import DIALECTS, ENGINES
from tests.contracts.guest import BOX, GuestParts, a_guest, done

PATIENCE = 90.0
ROOT = "root's Password 1"


@pytest.fixture(params=ENGINES)
def guest(request: pytest.FixtureRequest) -> Iterator[GuestParts]:
    """With a database `app` and a user `amy`."""
    with a_guest(request.param, build=open_suspicious) as parts:
        accounts = EngineAccounts(parts.services)
        amy = NewUser(name="amy", password=BOX.seal(PASSWORD), databases=("app",))
        done(accounts.create_databases, NewDatabases(databases=(NewDatabase(name="app"),)))
        done(accounts.create_users, NewUsers(users=(amy,)))
        yield parts


def serves(guest: GuestParts) -> None:
    """The tenant's data and password are as they were, and accounts can be changed."""
    accounts: Accounts = EngineAccounts(guest.services)
    assert done(accounts.list_databases).databases == ("app",)
    done(accounts.create_databases, NewDatabases(databases=(NewDatabase(name="more"),)))
    dialect = DIALECTS[guest.manager]
    with dialect.connect(guest.address, "amy", PASSWORD, "app") as connection:
        assert dialect.ask(connection, "SELECT 1") == [(1,)]


def drop(guest: GuestParts) -> None:
    """What a tenant with root can do: MariaDB's account can be dropped, PostgreSQL's renamed."""
    dialect = DIALECTS[guest.manager]
    root = guest.engine.accounts.enable_root(ROOT)
    with dialect.connect(guest.address, root, ROOT, "app") as connection:
        for statement in dialect.harm.get("dropped", dialect.harm["renamed"]):
            dialect.ask(connection, statement)


def secret_of(guest: GuestParts) -> Path:
    """Where the administrator's password is kept, if it has one."""
    path = guest.folder / "state/os_admin"
    if not path.exists():
        pytest.skip("its administrator has no password")
    return path


def lose_secret(guest: GuestParts) -> None:
    secret_of(guest).unlink()


def damage_secret(guest: GuestParts) -> None:
    secret_of(guest).write_bytes(b"")


def lose_both(guest: GuestParts) -> None:
    drop(guest)
    lose_secret(guest)


@pytest.mark.parametrize("loss", [drop, lose_secret, damage_secret, lose_both])
def test_it_comes_back_with_a_status_and_a_sentence_meanwhile(
    guest: GuestParts, loss: Callable[[GuestParts], None]
) -> None:
    loss(guest)
    seen: list[Condition] = []
    last = time.monotonic() + PATIENCE
    while not seen or seen[-1].status is not OperatingStatus.HEALTHY or len(seen) < 2:
        assert time.monotonic() < last, seen
        found = guest.services.supervisor.condition()
        if found not in seen[-1:] and (seen or found.status is not OperatingStatus.HEALTHY):
            seen.append(found)  # from when the loss was noticed
        time.sleep(0.05)
    assert seen[0] == Condition(OperatingStatus.RESTARTING, RESTORING)
    serves(guest)


def test_a_rebuilt_server_adopts_the_data_of_the_one_before(guest: GuestParts) -> None:
    """Its root disk is blank: no secret, no number of an operation, no configuration. The account knows another password."""
    path = guest.folder / "state/os_admin"
    secret = path.read_text() if path.exists() else ""
    rebuilt = guest.lose_root_disk()
    guest.engine, guest.services = rebuilt.engine, rebuilt.services
    guest.services.start()
    guest.furnish(2)
    assert not secret or path.read_text() != secret
    serves(guest)


def test_a_rebuilt_server_adopts_also_where_the_account_was_dropped(guest: GuestParts) -> None:
    drop(guest)
    rebuilt = guest.lose_root_disk()
    guest.engine, guest.services = rebuilt.engine, rebuilt.services
    guest.services.start()
    guest.furnish(2)
    serves(guest)
