"""The parts of a guest do not hold each other up: the engine's lock and that of account calls are two."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from contract.domain.accounts import Grant, NewDatabase, NewUser, UserChange, UserName
from contract.domain.errors import Busy, FenceLost, Unavailable
from contract.domain.instance import OperatingStatus
from contract.ports.guest import (
    Accounts,
    DatabaseName,
    Fenced,
    FirstAccounts,
    GateOrder,
    NewDatabases,
    NewUsers,
    PasswordChanges,
    RootOrder,
    UserToDelete,
)
from contract.ports.registration import verbs
from guest_worker.gate import STOPPED
from guest_worker.services import Services
from guest_worker.verbs.accounts import EngineAccounts
from guest_worker.verbs.gate import AccountGate
from guest_worker.verbs.health import EngineHealth
from guest_worker.verbs.lifecycle import EngineLifecycle
from tests.contracts.engines import ENGINES
from tests.contracts.guest import a_guest, done
from tests.machine import processes_below

PATIENCE = 60.0


@pytest.fixture(scope="module", params=ENGINES)
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """What a guest works with, its engine started."""
    with a_guest(request.param) as parts:
        yield parts.services


def test_the_engine_is_started_again_while_an_account_call_is_at_work(services: Services) -> None:
    folder = services.settings.paths.data
    with services.calls.turn():
        for pid in processes_below(folder):
            os.kill(pid, signal.SIGKILL)
        last = time.monotonic() + PATIENCE
        while not services.datastore.answers():
            assert time.monotonic() < last, services.supervisor.condition()
            time.sleep(0.1)


def test_accounts_are_changed_while_the_engine_has_its_lock_held(services: Services) -> None:
    """As it is while the engine is started, or a runbook's step is at work on it."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with services.supervisor.change:
            held.set()
            let_go.wait(PATIENCE)

    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(hold)
        held.wait(PATIENCE)
        try:
            order = FirstAccounts(fence=1, databases=(NewDatabase(name="first"),))
            threads.submit(done, EngineLifecycle(services).create_first_accounts, order).result(PATIENCE)
            accounts = EngineAccounts(services)
            done(accounts.create_databases, NewDatabases(databases=(NewDatabase(name="second"),)))
            assert done(accounts.list_databases).databases == ("first", "second")
            done(accounts.delete_database, DatabaseName(name="second"))
            assert not holding.done()
        finally:
            let_go.set()


def test_an_older_operation_is_refused_by_each_step(services: Services) -> None:
    lifecycle = EngineLifecycle(services)
    done(lifecycle.start_datastore, Fenced(fence=7))
    with pytest.raises(FenceLost):
        done(lifecycle.stop_datastore, Fenced(fence=6))
    with pytest.raises(FenceLost):
        done(lifecycle.create_first_accounts, FirstAccounts(fence=6, databases=(NewDatabase(name="late"),)))
    assert services.datastore.answers()
    assert "late" not in done(EngineAccounts(services).list_databases).databases


# -- the gate --------------------------------------------------------------------------------------------------------

AMY = UserName(name="amy")
COPIED = "the database is being copied"


def changing_calls(services: Services) -> dict[str, Callable[[], Any]]:
    """Every account call that changes something: the port's, as many as take an order that expires."""
    accounts, box = EngineAccounts(services), services.box
    amy = NewUser(name="amy", password=box.seal("secret"), databases=())
    change = UserChange(user=AMY, new_password=box.seal("other"))
    return {
        "create_databases": lambda: done(accounts.create_databases, NewDatabases(databases=(NewDatabase(name="no"),))),
        "delete_database": lambda: done(accounts.delete_database, DatabaseName(name="first")),
        "create_users": lambda: done(accounts.create_users, NewUsers(users=(amy,))),
        "update_user": lambda: done(accounts.update_user, change),
        "change_passwords": lambda: done(accounts.change_passwords, PasswordChanges(changes=(change,))),
        "delete_user": lambda: done(accounts.delete_user, UserToDelete(user=AMY)),
        "grant_access": lambda: done(accounts.grant_access, Grant(user=AMY, databases=("first",))),
        "revoke_access": lambda: done(accounts.revoke_access, Grant(user=AMY, databases=("first",))),
        "enable_root": lambda: done(accounts.enable_root, RootOrder()),
        "disable_root": lambda: done(accounts.disable_root, RootOrder()),
    }


def assert_closed(services: Services, reason: str) -> None:
    for name, call in changing_calls(services).items():
        with pytest.raises(Busy) as refused:
            call()
        assert refused.value.message == f"Nothing was changed: {reason}.", name


def assert_open(services: Services) -> None:
    order = NewDatabases(databases=(NewDatabase(name="in"),))
    done(EngineAccounts(services).create_databases, order)
    done(EngineAccounts(services).delete_database, DatabaseName(name="in"))


def test_each_call_that_changes_something_asks_the_gate(services: Services) -> None:
    lists = {"list_databases", "list_users", "get_user"}
    assert {each.__name__ for each in verbs(Accounts, EngineAccounts(services))} == {*changing_calls(services), *lists}


def test_a_closed_gate_shuts_out_changes_and_nothing_else(services: Services) -> None:
    gate, accounts = AccountGate(services), EngineAccounts(services)
    known = NewDatabases(databases=(NewDatabase(name="known"),))
    done(accounts.create_databases, known, call="a call")
    done(gate.close_gate, GateOrder(fence=8, reason=COPIED))
    assert_closed(services, COPIED)
    assert_closed(again(services), COPIED)  # as the next process of the guest worker finds it
    assert "known" in done(accounts.list_databases).databases
    assert done(accounts.list_users).users == ()
    assert asyncio.run(EngineHealth(services).get_health()).operating_status is OperatingStatus.HEALTHY
    done(accounts.create_databases, known, call="a call")  # sent again, it has the answer that it had
    with pytest.raises(FenceLost):
        done(gate.open_gate, Fenced(fence=7))
    assert_closed(services, COPIED)
    done(gate.open_gate, Fenced(fence=8))
    assert_open(services)
    done(accounts.delete_database, DatabaseName(name="known"))


def test_a_newer_operation_opens_the_gate(services: Services) -> None:
    done(AccountGate(services).close_gate, GateOrder(fence=9, reason=COPIED))
    done(EngineLifecycle(services).start_datastore, Fenced(fence=9))
    assert_closed(services, COPIED)
    done(EngineLifecycle(services).start_datastore, Fenced(fence=10))
    assert_open(services)


def test_closing_waits_for_the_call_that_is_at_work(services: Services) -> None:
    with ThreadPoolExecutor(1) as threads:
        with services.calls.turn():
            closing = threads.submit(done, AccountGate(services).close_gate, GateOrder(fence=11, reason=COPIED))
            while services.gate.reason is None and not closing.done():
                time.sleep(0.01)
            assert not closing.done()
        closing.result(PATIENCE)
    done(AccountGate(services).open_gate, Fenced(fence=11))
    assert_open(services)


def test_a_stopped_engine_refuses_changes_with_the_reason(services: Services) -> None:
    lifecycle = EngineLifecycle(services)
    done(lifecycle.stop_datastore, Fenced(fence=12))
    assert_closed(services, STOPPED)
    assert_closed(again(services), STOPPED)
    with pytest.raises(Unavailable):
        done(EngineAccounts(services).list_users)
    done(lifecycle.start_datastore, Fenced(fence=12))
    assert_open(services)


def again(services: Services) -> Services:
    """What another process would work with, on the same disk."""
    return Services(services.settings, services.datastore, services.box)
