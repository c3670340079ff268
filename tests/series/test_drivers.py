"""An engine takes over the data of an older series, and goes back to a copy of it, whatever is broken off in between."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.datastores import DATASTORES
from contract.domain.errors import EngineFailed, Unsupported
from deploy import setup
from guest_worker.datastores import managers, open_datastore, recipe_of
from guest_worker.datastores.base import EngineContext, PlainUser
from guest_worker.datastores.kept import KeptData
from guest_worker.engine_user import SameUser
from tests.contracts.engines import DIALECTS, ENGINES, copy_template, engine_context
from tests.driver_process import DriverProcess, open_folder
from tests.machine import kill_below, loopback
from tests.series.rows import digest_of_rows, make_rows

SERIES = {each: recipe_of(each).newer for each in managers() if recipe_of(each).newer}
OLD = "old"


def newer(manager: str) -> Path | None:
    """Where the engine's next series is."""
    return SERIES[manager][0].prefix(setup.open_home() / "images")


UPGRADED = [
    pytest.param(each, marks=pytest.mark.skipif(newer(each) is None, reason=f"no newer {each} on this machine"))
    for each in SERIES
]


@dataclass
class Volume:
    """Data of the old series, stopped in order, with a table."""

    manager: str
    folder: Path
    address: str
    checksum: Any = None

    def engine(self, name: str, prefix: Path | None = None) -> DriverProcess:
        """The engine of a server, with a guest's folder of its own."""
        context = engine_context(self.manager, self.folder / "data", self.folder / name, self.address)
        if prefix is not None:
            context = EngineContext(context.data, context.state, context.bind_address, str(prefix))
        if not context.state.exists():
            open_folder(context.state)
        engine = DriverProcess(open_datastore, self.manager, context)
        engine.configure(512, DIALECTS[self.manager].forgetful)
        return engine

    def read(self) -> Any:
        """The table, as its user reads it."""
        with DIALECTS[self.manager].connect(self.address, "amy", "secret", "app") as connection:
            return digest_of_rows(self.manager, connection)

    def copies(self) -> list[str]:
        """That are on the volume."""
        return sorted(each.name for each in (self.folder / "data").glob("*.kept*"))


@pytest.fixture(params=UPGRADED)
def volume(request: pytest.FixtureRequest) -> Iterator[Volume]:
    """One that a copy was made of."""
    manager = request.param
    with TemporaryDirectory(prefix=f"coffer-series-{manager}-") as work:
        folder = Path(work)
        folder.chmod(0o755)
        copy_template(manager, folder)
        made = Volume(manager, folder, loopback())
        engine = made.engine("state")
        engine.start()
        engine.accounts.create_database(NewDatabase(name="app"))
        engine.accounts.create_user(PlainUser(UserName(name="amy"), "secret", ("app",)))
        with DIALECTS[manager].connect(made.address, "amy", "secret", "app") as connection:
            make_rows(manager, connection)
        made.checksum = made.read()
        engine.stop()
        engine.keep_data(OLD)
        engine.keep_data(OLD)  # an answer was lost
        engine.end()
        assert made.copies() == [f"{manager}.kept-{OLD}"]
        yield made
        kill_below(folder)


def serves(volume: Volume, engine: DriverProcess) -> str:
    """Whether it has the table; and its version."""
    engine.start()
    try:
        assert volume.read() == volume.checksum
        assert engine.accounts.list_databases() == ("app",)
        engine.accounts.create_database(NewDatabase(name="after"))
        return str(engine.version())
    finally:
        engine.stop()


def test_the_data_is_taken_over_and_taken_back(volume: Volume) -> None:
    manager = volume.manager
    (wanted,) = DATASTORES[manager].upgrades[recipe_of(manager).version("")]
    engine = volume.engine("new", newer(manager))
    engine.restore_data(wanted)  # there is none of its own series
    assert str(engine.upgrade_data()).startswith(f"{wanted}.")
    assert serves(volume, engine).startswith(f"{wanted}.")
    engine.end()
    old = volume.engine("old")
    old.restore_data(OLD)
    old.restore_data(OLD)
    assert volume.copies() == []
    old.restore_administrator()  # as a new guest does
    assert not serves(volume, old).startswith(f"{wanted}.")
    old.end()


def test_an_upgrade_that_was_broken_off_is_done_again(volume: Volume) -> None:
    """Everything that it has started is killed, some way on."""
    engine = volume.engine("new", newer(volume.manager))
    broken = threading.Thread(target=_tried, args=(engine,))
    broken.start()
    time.sleep(3)
    kill_below(volume.folder)
    broken.join(60)
    engine.end()
    again = volume.engine("again", newer(volume.manager))
    again.upgrade_data()
    serves(volume, again)
    again.forget_data()
    assert volume.copies() == []
    again.end()


def _tried(engine: DriverProcess) -> None:
    with suppress(Exception):
        engine.upgrade_data()


def test_without_room_no_copy_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rows").write_text("rows")
    kept = KeptData(folder, tmp_path / "state", SameUser())
    monkeypatch.setattr("guest_worker.datastores.room.MARGIN", 2**60)
    with pytest.raises(EngineFailed, match="resize the volume first"):
        kept.keep(OLD)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "state"]


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    kept = KeptData(folder, tmp_path / "state", SameUser())
    (tmp_path / "data.kept.half").mkdir()
    monkeypatch.setattr(KeptData, "require_room", lambda self: folder.rmdir())
    with pytest.raises(EngineFailed, match="cp ended with 1"):
        kept.keep(OLD)
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("manager", ENGINES)
def test_an_engine_that_is_taken_to_no_other_series_says_so(manager: str, tmp_path: Path) -> None:
    if DATASTORES[manager].upgrades:
        assert {each.number for each in recipe_of(manager).newer} == {
            name for names in DATASTORES[manager].upgrades.values() for name in names
        }
        return
    with pytest.raises(Unsupported, match="another series"):
        open_datastore(manager, EngineContext(tmp_path / "data", tmp_path / "state")).upgrade_data()
