"""A data volume that is really full: said, survived by the engine, and cured by what the tenant deletes."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Datastore, PlainUser, Surroundings
from guest_worker.keeper import Keeper
from guest_worker.reserve import FULL, MIB, NO_FILES, PIECES, READ_ONLY, Reserve, space_of
from tests.contracts.conftest import AMY, ENGINES, PASSWORD
from tests.contracts.engines import DIALECTS
from tests.elsewhere import NOBODY, Elsewhere, open_folder
from tests.machine import kill_below, loopback, processes_below
from workflows.domain.accounts import NewDatabase
from workflows.domain.errors import Busy
from workflows.domain.instance import OperatingStatus

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, there are no volumes")
SIZE = 768 * MIB
INSERT = {
    "mariadb": "INSERT INTO heap (text) VALUES (REPEAT('x', 4000000))",
    "postgresql": "INSERT INTO heap (text) VALUES (repeat('x', 4000000))",
}
TABLE = {
    "mariadb": "CREATE TABLE heap (text LONGTEXT)",
    "postgresql": "CREATE TABLE heap (text text); ALTER TABLE heap ALTER text SET STORAGE EXTERNAL",
}
PATIENCE = 90.0


@dataclass
class Place:
    """One engine on a volume of its own, looked after by its keeper."""

    manager: str
    folder: Path
    engine: Any
    keeper: Keeper
    address: str

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """As the tenant's user."""
        dialect = DIALECTS[self.manager]
        with dialect.connect(self.address, AMY.name, PASSWORD, "app") as connection:
            found: list[tuple[Any, ...]] = []
            for each in statement.split(";"):
                found = dialect.ask(connection, each)
            return found

    def fill(self) -> None:
        """Insert until the engine takes no more and nothing that it tidies up gives room."""
        free = space_of(self.folder / "data").free
        with (self.folder / "data/ballast").open("wb") as file:  # what other tables would hold, in less time
            os.posix_fallocate(file.fileno(), 0, free - 250 * MIB)
        last = time.monotonic() + 2 * PATIENCE
        refused = 0
        while refused < 5 or self.keeper.reserve.problem() != FULL:
            assert time.monotonic() < last, (refused, space_of(self.folder / "data"))
            try:
                self.ask(INSERT[self.manager])
            except DIALECTS[self.manager].refused:
                refused += 1
                time.sleep(0.3)

    def until(self, status: OperatingStatus) -> Any:
        """Wait for a status; return its reason."""
        return wait(lambda: (self.keeper.condition().status is status, self.keeper.condition()))

    def says_what_is(self) -> bool:
        """Whether the status is that of the volume."""
        full = self.keeper.reserve.problem() == FULL
        return self.keeper.condition().status is (OperatingStatus.BLOCKED if full else OperatingStatus.HEALTHY)


def wait(look: Callable[[], tuple[bool, Any]]) -> Any:
    """Look until it is so."""
    last = time.monotonic() + PATIENCE
    while True:
        good, seen = look()
        if good:
            return getattr(seen, "reason", seen)
        assert time.monotonic() < last, seen
        time.sleep(0.2)


def pieces(data: Path) -> int:
    """How much of the reserve is there."""
    return len(list(data.glob("reserve/*")))


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An engine that runs on a small volume."""
    manager = request.param
    folder = Path(tempfile.mkdtemp(prefix=f"coffer-full-{manager}-"))
    folder.chmod(0o755)
    image, data = folder / "volume.img", open_folder(folder / "data")
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", "4096", "-e", "remount-ro", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop,noatime", str(image), str(data)], check=True)
    os.chown(data, NOBODY, NOBODY)
    address = loopback()
    around = Surroundings(data, open_folder(folder / "state"), bind_address=address)
    engine = Elsewhere(open_datastore, manager, around)
    keeper = Keeper(cast("Datastore", engine), folder / "keeper", Reserve(data, mounted_by_us=True))
    try:
        engine.initialise()
        engine.configure(512, {})
        keeper.want(True)
        keeper.start_engine()
        engine.accounts.create_database(NewDatabase(name="app"))
        engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
        keeper.start()
        found = Place(manager, folder, engine, keeper, address)
        wait(lambda: (pieces(data) == PIECES, "the reserve"))
        found.ask(TABLE[manager])
        found.ask("CREATE TABLE small (n int)")
        yield found
    finally:
        keeper.end()
        kill_below(folder)
        wait(lambda: (not processes_below(folder), "processes"))
        engine.end()
        wait(lambda: (subprocess.run(["umount", str(data)], check=False).returncode == 0, "the volume is in use"))
        shutil.rmtree(folder)


def test_a_full_volume_is_said_and_the_tenant_frees_it(place: Place) -> None:
    assert place.keeper.condition().status is OperatingStatus.HEALTHY
    place.fill()
    assert place.until(OperatingStatus.BLOCKED) == FULL
    with pytest.raises(Busy, match="the data volume is full"):
        place.keeper.check_room()
    with contextlib.suppress(*DIALECTS[place.manager].refused):
        place.ask("INSERT INTO small VALUES (1)")
    place.until(OperatingStatus.BLOCKED)
    wait(lambda: (dropped(place), "the tenant could not drop its table"))
    place.until(OperatingStatus.HEALTHY)
    place.ask("INSERT INTO small VALUES (2)")
    place.keeper.check_room()
    wait(lambda: (pieces(place.folder / "data") == PIECES, "the reserve"))


def dropped(place: Place) -> bool:
    """Whether the tenant's own statement freed the space."""
    try:
        place.ask("DROP TABLE heap")
    except DIALECTS[place.manager].refused:
        return False
    return True


@pytest.mark.parametrize("again", [1, 2])
def test_a_killed_engine_recovers_on_a_full_volume_and_the_api_may_drop(place: Place, again: int) -> None:
    place.fill()
    for number in range(again):
        kill_below(place.folder / "data")
        time.sleep(0.5)
        if number == 0:
            assert place.until(OperatingStatus.BLOCKED) == FULL
        else:  # PostgreSQL's second recovery may give room
            wait(lambda: (place.says_what_is(), place.keeper.condition()))
    place.keeper.want(False)
    place.engine.stop()
    place.keeper.want(True)
    place.keeper.start_engine()
    assert place.engine.accounts.list_databases() == ("app",)
    with place.keeper.room_to_delete():
        place.engine.accounts.delete_database("app")
    place.until(OperatingStatus.HEALTHY)


def test_a_volume_without_inodes_is_said(place: Place) -> None:
    folder = place.folder / "data/files"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(5000):
            (folder / str(number)).touch()
    assert place.until(OperatingStatus.BLOCKED) == NO_FILES
    kill_below(place.folder / "data")
    assert place.until(OperatingStatus.BLOCKED) == NO_FILES
    shutil.rmtree(folder)
    place.until(OperatingStatus.HEALTHY)


def test_a_volume_that_became_read_only_is_said(place: Place) -> None:
    device = subprocess.run(["findmnt", "-n", "-o", "SOURCE", str(place.folder / "data")], capture_output=True,
                            text=True, check=True).stdout.strip()  # fmt: skip
    Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("of a test")
    wait(lambda: (place.keeper.condition().reason == READ_ONLY, place.keeper.condition()))


def test_the_reserve_never_takes_what_a_running_engine_needs(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    free = space_of(tmp_path).free
    assert reserve.hold(leave=free - 10 * MIB) is False
    assert 0 < len(list((tmp_path / "reserve").iterdir())) <= 10
    reserve.release()
    assert list((tmp_path / "reserve").iterdir()) == []
