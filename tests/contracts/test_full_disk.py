"""A data volume that is really full: said, survived by the engine, and cured by what the tenant deletes."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from contract.domain.accounts import NewDatabase
from contract.domain.errors import Busy, EngineFailed, NotFound
from contract.domain.instance import OperatingStatus
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Datastore, EngineContext, PlainUser
from guest_worker.datastores.configuration import EngineConfiguration
from guest_worker.reserve import FULL, MIB, NO_FILES, PIECES, READ_ONLY, Reserve, space_of
from guest_worker.supervisor import EngineSupervisor
from tests.contracts.conftest import AMY, PASSWORD
from tests.contracts.engines import DIALECTS, ENGINES, copy_whole_template, engine_context
from tests.driver_process import NOBODY, DriverProcess, open_folder
from tests.machine import kill_below, loopback, processes_below

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, there are no volumes")
SIZE = 768 * MIB
INSERT = "INSERT INTO heap (text) VALUES (REPEAT('x', 4000000))"
PATIENCE = 90.0


@dataclass
class Place:
    """One engine on a volume of its own, looked after by its supervisor."""

    manager: str
    folder: Path
    engine: Any
    supervisor: EngineSupervisor
    address: str

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """As the tenant's user."""
        dialect = DIALECTS[self.manager]
        with dialect.connect(self.address, AMY.name, PASSWORD, "app") as connection:
            return dialect.ask(connection, statement)

    def fill(self) -> None:
        """Insert until the engine takes no more and nothing that it tidies up gives room."""
        free = space_of(self.folder / "data").free
        with (self.folder / "data/ballast").open("wb") as file:  # what other tables would hold, in less time
            os.posix_fallocate(file.fileno(), 0, free - 250 * MIB)
        last = time.monotonic() + 2 * PATIENCE
        refused = 0
        while refused < 5 or self.supervisor.reserve.problem() != FULL:
            assert time.monotonic() < last, (refused, space_of(self.folder / "data"))
            try:
                self.ask(INSERT)
            except DIALECTS[self.manager].refused:
                refused += 1
                time.sleep(0.3)

    def until(self, status: OperatingStatus) -> Any:
        """Wait for a status; return its reason."""
        return wait(lambda: (self.supervisor.condition().status is status, self.supervisor.condition()))

    def says_what_is(self) -> bool:
        """Whether the status is that of the volume."""
        full = self.supervisor.reserve.problem() == FULL
        return self.supervisor.condition().status is (OperatingStatus.BLOCKED if full else OperatingStatus.HEALTHY)


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
    copy_whole_template(manager, folder)
    context = engine_context(manager, data, folder / "state", address)
    engine = DriverProcess(open_datastore, manager, context)
    datastore, state = cast("Datastore", engine), folder / "supervisor"
    configuration = EngineConfiguration(datastore, "", state)
    supervisor = EngineSupervisor(datastore, state, Reserve(data, mounted_by_us=True), configuration)
    try:
        engine.initialise()  # finds what it needs
        engine.configure(512, {})
        supervisor.want(True)
        supervisor.start_engine()
        engine.accounts.create_database(NewDatabase(name="app"))
        engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
        supervisor.start()
        found = Place(manager, folder, engine, supervisor, address)
        wait(lambda: (pieces(data) == PIECES, "the reserve"))
        for statement in (*DIALECTS[manager].large_table, "CREATE TABLE small (n int)"):
            found.ask(statement)
        yield found
    finally:
        supervisor.end()
        kill_below(folder)
        wait(lambda: (not processes_below(folder), "processes"))
        engine.end()
        wait(lambda: (subprocess.run(["umount", str(data)], check=False).returncode == 0, "the volume is in use"))
        shutil.rmtree(folder)


def test_a_full_volume_is_said_and_the_tenant_frees_it(place: Place) -> None:
    assert place.supervisor.condition().status is OperatingStatus.HEALTHY
    place.fill()
    assert place.until(OperatingStatus.BLOCKED) == FULL
    with pytest.raises(Busy, match="the data volume is full"):
        place.supervisor.check_room()
    with contextlib.suppress(*DIALECTS[place.manager].refused):
        place.ask("INSERT INTO small VALUES (1)")
    place.until(OperatingStatus.BLOCKED)
    wait(lambda: (dropped(place), "the tenant could not drop its table"))
    place.until(OperatingStatus.HEALTHY)
    place.ask("INSERT INTO small VALUES (2)")
    place.supervisor.check_room()
    wait(lambda: (pieces(place.folder / "data") == PIECES, "the reserve"))


def dropped(place: Place) -> bool:
    """Whether the tenant's own statement freed the space."""
    try:
        place.ask("DROP TABLE heap")
    except DIALECTS[place.manager].refused:
        return False
    return True


def test_a_killed_engine_recovers_on_a_full_volume_and_the_api_may_drop(place: Place) -> None:
    place.fill()
    for _ in range(2):
        kill_below(place.folder / "data")
        time.sleep(0.5)
        # recovery may give room: what was half done is forgotten
        wait(lambda: (place.says_what_is(), place.supervisor.condition()))
    place.supervisor.want(False)
    place.engine.stop()
    place.supervisor.want(True)
    place.supervisor.start_engine()
    assert place.engine.accounts.list_databases() == ("app",)
    wait(lambda: (deleted(place), "the API could not drop the database"))
    place.until(OperatingStatus.HEALTHY)


def deleted(place: Place) -> bool:
    """Whether the API's drop freed the space; asked again where the engine did not answer, as the API says."""
    try:
        with place.supervisor.room_to_delete():
            place.engine.accounts.delete_database("app")
    except EngineFailed:
        return False
    except NotFound:
        return True
    return True


@pytest.mark.parametrize("end", ["is broken off", "is killed"])
def test_a_drop_that_is_slow_on_a_full_volume_is_ended(place: Place, end: str) -> None:
    """The engine freezes within the drop, whose caller waits no longer; then it goes on, gives up, or is killed."""
    dialect = DIALECTS[place.manager]
    place.fill()
    with frozen(place.folder / "data", dialect.drop_waits_for):
        deleted(place)
        if end == "is killed":
            kill_below(place.folder / "data")
        elif dialect.break_off:
            break_off(place)
    wait(lambda: (deleted(place), "the API could not drop the database"))
    place.until(OperatingStatus.HEALTHY)
    wait(lambda: (pieces(place.folder / "data") == PIECES, "the reserve"))


def break_off(place: Place) -> None:
    """Others write meanwhile, and somebody cancels it."""
    dialect = DIALECTS[place.manager]
    password = (place.folder / "state/os_admin").read_text()
    with closing(dialect.administer(place.folder / "data", password)) as session:
        for statement in dialect.break_off:
            dialect.ask(session, statement)


@contextlib.contextmanager
def frozen(folder: Path, title: str) -> Iterator[None]:
    """An engine, or the processes of it that have a title, stands still; one that a full volume ended is started first."""

    def those() -> list[int]:
        return [each for each in processes_below(folder) if title in Path(f"/proc/{each}/cmdline").read_text()]

    wait(lambda: (bool(those()), "an engine"))
    stopped = those()
    for each in stopped:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


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
    wait(lambda: (place.supervisor.condition().reason == READ_ONLY, place.supervisor.condition()))


def test_a_copied_data_directory_has_all_room_that_its_files_take(tmp_path: Path) -> None:
    """An engine that writes into a hole of its own file on a full volume is refused."""
    template = tmp_path / "template"
    template.mkdir()
    with (template / "ibdata1").open("wb") as file:
        file.truncate(3 * MIB)
    EngineContext(tmp_path, tmp_path).copy_template(template, tmp_path / "data")
    copied = (tmp_path / "data/ibdata1").stat()
    assert copied.st_blocks * 512 >= copied.st_size == 3 * MIB


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system that no other test writes to."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200m", "coffer-test", str(tmp_path)], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_the_reserve_never_takes_what_a_running_engine_needs(small_volume: Path) -> None:
    reserve = Reserve(small_volume)
    assert reserve.hold(leave=1190 * MIB) is False
    assert 0 < pieces(small_volume) <= 10
    reserve.release()
    assert pieces(small_volume) == 0
