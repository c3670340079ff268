"""Logs of the real engines: what is written when, what is not, and how long it grows."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contract.domain.accounts import NewUser, UserName
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.base import GUEST_LOG, LogKind
from contract.domain.datastores.parameters import parameters_of
from contract.domain.errors import BadRequest, NotFound
from contract.ports.guest import EngineOrder, Fenced, NewUsers
from contract.ports.logs import LogOrder, LogReport
from guest_worker.datastores.base import EngineState, PlainUser
from guest_worker.logs import files
from guest_worker.logs.files import LogFile
from guest_worker.verbs.accounts import EngineAccounts
from guest_worker.verbs.lifecycle import EngineLifecycle
from guest_worker.verbs.logs import EngineLogs
from tests.contracts.conftest import AMY, PASSWORD
from tests.contracts.engines import DIALECTS, ENGINES
from tests.contracts.guest import BOX, GuestParts, a_guest, done

OURS = "never-to-be-seen-52a1"  # a password that our own statements set
OTHERWISE = {  # what the tenant's root may have set
    "mariadb": "SET GLOBAL log_output = 'NONE'",
    "mysql": "SET GLOBAL log_output = 'NONE'",
    "postgresql": "ALTER SYSTEM SET log_statement = 'none'",
}
SLOW = {"mariadb": "SELECT SLEEP(0.2)", "mysql": "SELECT SLEEP(0.2)"}


@pytest.fixture(scope="module", params=ENGINES)
def guest(request: pytest.FixtureRequest) -> Iterator[GuestParts]:
    """A guest whose engine serves."""
    with a_guest(request.param) as parts:
        yield parts


@pytest.fixture
def told(guest: GuestParts) -> Iterator[Callable[..., LogReport]]:
    """Asks for a log; all that was switched on is off again afterwards."""
    verbs = EngineLogs(guest.services)

    def change(name: str, **what: Any) -> LogReport:
        report: LogReport = done(verbs.change_log, LogOrder(name=name, **what))
        return report

    yield change
    for name, kind in DATASTORES[guest.manager].logs.items():
        if kind is LogKind.USER:
            change(name, enable=False, discard=True)


def path_of(guest: GuestParts, name: str) -> Path:
    return Path(guest.engine.logs.files()[name])


def shown(guest: GuestParts, name: str) -> str:
    """What a tenant gets of a log."""
    content = b"".join(part.path.read_bytes() for part in LogFile(path_of(guest, name)).parts())
    return bytes(guest.engine.logs.without_ours(name, content)).decode(errors="replace")


def say(guest: GuestParts, *statements: str) -> None:
    """As a tenant."""
    dialect = DIALECTS[guest.manager]
    with closing(dialect.connect(guest.address, "amy", PASSWORD, "app")) as connection:
        for each in statements:
            dialect.ask(connection, each)


@pytest.fixture(scope="module", autouse=True)
def _tenant(guest: GuestParts) -> None:
    from contract.domain.accounts import NewDatabase

    guest.engine.accounts.create_database(NewDatabase(name="app"))
    guest.engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))


def in_the_end(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_guest_tells_of_the_logs_that_the_facts_name(guest: GuestParts) -> None:
    found = {each.name: each for each in done(EngineLogs(guest.services).list_logs).logs}
    facts = DATASTORES[guest.manager].logs
    assert found.keys() == facts.keys()
    assert set(guest.engine.logs.files()) == facts.keys() - {GUEST_LOG}
    assert {name: each.enabled for name, each in found.items()} == {n: k is LogKind.SYS for n, k in facts.items()}


def test_statements_are_written_while_that_is_wanted(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    say(guest, "SELECT 'before'")
    assert not told("general").enabled
    assert told("general", enable=True).enabled
    say(guest, "SELECT 'within'")
    in_the_end(lambda: "SELECT 'within'" in shown(guest, "general"))
    assert not told("general", enable=False).enabled
    say(guest, "SELECT 'after'")
    assert "SELECT 'before'" not in shown(guest, "general")
    assert "SELECT 'after'" not in shown(guest, "general")


def test_nothing_that_our_own_sessions_say_is_written(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    for name, kind in DATASTORES[guest.manager].logs.items():
        if kind is LogKind.USER:
            told(name, enable=True)
    if guest.manager != "postgresql":
        _administered(guest, "SET GLOBAL long_query_time = 0")
    guest.engine.session.close()  # new sessions begin while it is written
    new = NewUser(name="bob", password=BOX.seal(OURS), databases=("app",))
    done(EngineAccounts(guest.services).create_users, NewUsers(users=(new,)))
    guest.engine.accounts.set_password(UserName(name="bob"), OURS + "-2")
    guest.engine.accounts.delete_user(UserName(name="bob"))
    for _ in range(3):
        assert guest.engine.answers()
    say(guest, "SELECT 'the last'")
    in_the_end(lambda: "SELECT 'the last'" in shown(guest, "general"))
    for name in guest.engine.logs.files():
        for part in LogFile(path_of(guest, name)).parts():
            assert OURS not in part.path.read_text(errors="replace"), name
    if guest.manager != "postgresql":
        _administered(guest, "SET GLOBAL long_query_time = 10")
        assert "SELECT 'the last'" in shown(guest, "slow_query")
    seen = shown(guest, "general")
    assert [line for line in seen.splitlines() if "os_admin" in line or "bob" in line.lower()] == []
    assert "SET SESSION sql_log_off" not in seen


def test_a_restart_and_a_new_configuration_keep_it(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    told("general", enable=True)
    lifecycle = EngineLifecycle(guest.services)
    done(lifecycle.stop_datastore, Fenced(fence=1))
    done(lifecycle.configure_datastore, EngineOrder(fence=1, memory_mib=1024))
    done(lifecycle.start_datastore, Fenced(fence=1))
    say(guest, "SELECT 'started again'")
    in_the_end(lambda: "SELECT 'started again'" in shown(guest, "general"))
    done(lifecycle.stop_datastore, Fenced(fence=1))
    assert not told("general", enable=False).enabled  # also while it does not run
    done(lifecycle.start_datastore, Fenced(fence=1))
    say(guest, "SELECT 'not any more'")
    assert "SELECT 'not any more'" not in shown(guest, "general")


def test_what_tenants_say_is_not_told_as_why_the_engine_ended(
    guest: GuestParts, told: Callable[..., LogReport]
) -> None:
    told("general", enable=True)
    lifecycle = EngineLifecycle(guest.services)
    say(guest, "SELECT 'FATAL: No space left on device',\n 'ERROR'")
    in_the_end(lambda: "No space left" in shown(guest, "general"))
    done(lifecycle.stop_datastore, Fenced(fence=1))
    try:
        seen = guest.engine.probe()
        assert seen.state is EngineState.SILENT
        assert "SELECT" not in seen.words
        assert "No space" not in seen.words
    finally:
        done(lifecycle.start_datastore, Fenced(fence=1))


def test_slow_statements_are_written(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    if "slow_query" not in DATASTORES[guest.manager].logs:
        pytest.skip("it has no such log")
    told("slow_query", enable=True)
    say(guest, "SET SESSION long_query_time = 0.1", SLOW[guest.manager])
    in_the_end(lambda: SLOW[guest.manager] in shown(guest, "slow_query"))


def test_a_log_that_grows_is_kept_small_and_goes_on(
    guest: GuestParts, told: Callable[..., LogReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    told("general", enable=True)
    monkeypatch.setattr(files, "LONGEST", 100_000)
    file = LogFile(path_of(guest, "general"))
    for number in range(4):
        say(guest, *(f"SELECT '{number} {'x' * 30_000}'" for _ in range(5)))
        in_the_end(lambda: file.size > 100_000)
        assert file.rotate()
    say(guest, "SELECT 'and on'")
    in_the_end(lambda: "SELECT 'and on'" in path_of(guest, "general").read_text(errors="replace"))
    parts = file.parts()
    assert len(parts) == 2
    assert sum(part.size for part in parts) < 400_000
    assert b"\0" not in path_of(guest, "general").read_bytes()


def test_the_supervisor_empties_a_log_beyond_its_bound(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    told("general", enable=True)
    file = LogFile(path_of(guest, "general"))
    before = max(part.number for part in file.parts())
    say(guest, *(f"SELECT length('{'x' * files.MIB}')" for _ in range(files.LONGEST // files.MIB + 1)))
    in_the_end(lambda: file.parts()[-1].number == before + 1 and file.size < files.MIB)
    assert 0 < told("general").pending < files.LONGEST + 4 * files.MIB


def test_switching_a_log_on_overrules_what_root_has_set(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    _administered(guest, OTHERWISE[guest.manager])
    told("general", enable=True)
    say(guest, "SELECT 'nevertheless'")
    in_the_end(lambda: "SELECT 'nevertheless'" in shown(guest, "general"))


def test_no_setting_that_a_tenant_is_offered_is_one_of_the_logs(guest: GuestParts) -> None:
    ours = set(guest.engine.logs.settings(frozenset(DATASTORES[guest.manager].logs)))
    assert ours
    assert ours & {each.lower() for each in parameters_of(guest.manager, "")} == set()


def test_what_is_not_there_and_what_is_always_on_is_refused(guest: GuestParts, told: Callable[..., LogReport]) -> None:
    with pytest.raises(NotFound):
        told("no-such-log")
    for name, kind in DATASTORES[guest.manager].logs.items():
        if kind is LogKind.SYS:
            with pytest.raises(BadRequest):
                told(name, enable=True)


@pytest.mark.parametrize("manager", ENGINES)
def test_a_rebuild_keeps_what_is_switched_on(manager: str) -> None:
    with a_guest(manager) as parts:
        done(EngineLogs(parts.services).change_log, LogOrder(name="general", enable=True))
        new = parts.lose_root_disk()
        parts.services, parts.engine = new.services, new.engine  # ended with the first one
        new.services.start()
        lifecycle, order = EngineLifecycle(new.services), EngineOrder(fence=2, memory_mib=1024, adopts=True)
        done(lifecycle.initialise_datastore, order)
        done(lifecycle.start_datastore, Fenced(fence=2))
        (log,) = [each for each in done(EngineLogs(new.services).list_logs).logs if each.name == "general"]
        assert log.enabled
        ((value,),) = [
            row[-1:]
            for row in _administered(new, "SHOW log_statement" if manager == "postgresql" else "SELECT @@general_log")
        ]
        assert str(value) in ("1", "all")


def _administered(parts: GuestParts, question: str) -> list[tuple[Any, ...]]:
    dialect = DIALECTS[parts.manager]
    secret = parts.folder / "state/os_admin"
    password = secret.read_text() if secret.exists() else ""
    with closing(dialect.administer(parts.folder / "data", password)) as connection:
        return dialect.ask(connection, question)
