"""What a tenant's root does to the administrator's account is told apart from an engine that is down, and repaired."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contract.domain.accounts import NewDatabase
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import AdministratorRefused, EngineState, PlainUser
from guest_worker.datastores.postgresql.administrator import DONE
from guest_worker.engine_user import SameUser
from tests.contracts.conftest import AMY, PASSWORD, Case
from tests.contracts.engines import DIALECTS, ENGINES, engine_context, new_engine
from tests.contracts.test_impostor import says_nothing
from tests.machine import kill_below, loopback

ROOT = "root's Password 1"


@pytest.fixture(scope="module", params=ENGINES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """An engine with a database, a user and root."""
    manager = request.param
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-{manager}-"))
    folder.chmod(0o755)
    address = loopback()
    engine = new_engine(manager, folder, address)
    try:
        engine.accounts.create_database(NewDatabase(name="app"))
        engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
        yield Case(engine, DIALECTS[manager], folder, address)
    finally:
        kill_below(folder)
        engine.end()
        shutil.rmtree(folder)


def as_root(case: Case, statements: Sequence[str]) -> None:
    """What the tenant's root does."""
    root = case.engine.accounts.enable_root(ROOT)
    with case.connect(root, ROOT, "app") as connection:
        for each in statements:
            case.ask(connection, each)


def serves(case: Case) -> None:
    """The administrator's account and the tenant's data are as they were."""
    assert case.engine.probe().state is EngineState.ANSWERS
    assert "app" in case.engine.accounts.list_databases()
    case.engine.accounts.create_database(NewDatabase(name="more"))
    case.engine.accounts.delete_database("more")
    with case.connect() as connection:
        assert case.ask(connection, "SELECT 1") == [(1,)]


def restored(case: Case) -> None:
    """As the supervisor does it."""
    case.engine.stop()
    case.engine.restore_administrator()
    case.engine.start()
    serves(case)


@pytest.mark.parametrize("harm", sorted({name for each in DIALECTS.values() for name in each.harm}))
def test_a_harmed_administrator_is_told_apart_and_restored(case: Case, harm: str) -> None:
    statements = case.dialect.harm.get(harm)
    if statements is None:
        pytest.skip("not of this engine")
    as_root(case, statements)
    case.engine.call("_prober.close")
    seen = case.engine.probe()
    assert seen.state is EngineState.ADMINISTRATOR_REFUSED, seen
    assert case.engine.runs()
    with case.connect() as connection:
        assert case.ask(connection, "SELECT 1") == [(1,)]
    case.engine.stop()
    with pytest.raises(AdministratorRefused):
        case.engine.start()
    restored(case)


def test_a_lost_password_file_is_made_anew(case: Case) -> None:
    if not case.secret:
        pytest.skip("its administrator has no password")
    (case.folder / "state/os_admin").unlink()
    case.engine.call("_prober.close")
    assert case.engine.probe().state is EngineState.ADMINISTRATOR_REFUSED
    restored(case)


@pytest.mark.parametrize("harm", sorted({name for each in DIALECTS.values() for name in each.harmless}))
def test_what_root_sets_for_everybody_does_not_harm_the_administrator(case: Case, harm: str) -> None:
    statements = case.dialect.harmless.get(harm)
    if statements is None:
        pytest.skip("not of this engine")
    as_root(case, statements)
    case.engine.call("_prober.close")
    assert case.engine.probe().state is EngineState.ANSWERS, case.engine.probe()
    case.engine.stop()
    case.engine.start()
    serves(case)


def test_a_stopped_engine_is_silent_and_not_refused(case: Case) -> None:
    case.engine.stop()
    assert case.engine.probe().state is EngineState.SILENT
    case.engine.start()
    serves(case)


def test_with_all_connections_in_use_it_serves(case: Case) -> None:
    root = case.engine.accounts.enable_root(ROOT)
    case.engine.call("_prober.close")
    held = [case.connect(root, ROOT, "app")]
    try:
        with pytest.raises(case.dialect.refused):
            while len(held) < 300:
                held.append(case.connect(root, ROOT, "app"))
        seen = case.engine.probe()
        assert seen.state is EngineState.ANSWERS
        assert not seen.words or "connections" in seen.words
    finally:
        for each in held:
            each.close()


class Hearing(SameUser):
    """Runs nothing, and keeps what it was given to run."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Keep it."""
        self.heard += [*command, given or ""]
        return DONE

    def start(self, command: Sequence[str], log: Path, *, given: str = "") -> int:
        """Keep it; the process is ours, and has ended at once."""
        self.heard += [*command, given]
        return os.getpid()

    def ended(self, pid: int) -> int | None:
        """Well."""
        return 0


@pytest.mark.parametrize("manager", ENGINES)
def test_the_engines_user_is_not_told_the_password(tmp_path: Path, manager: str) -> None:
    hearing = Hearing()
    context = replace(engine_context(manager, tmp_path / "data", tmp_path / "state"), engine=hearing)
    engine = open_datastore(manager, context)
    engine.initialise()
    engine.restore_administrator()
    assert any("os_admin" in each for each in hearing.heard)
    says_nothing([each.encode() for each in hearing.heard], context.admin_password())
