"""Taking PostgreSQL's data to another series: `pg_upgrade`, with the programs of both, while nobody is let in.

It links the files instead of copying them: the way back is the copy that was made before. What was broken off is begun
again from the old data directory, which stays complete until the new one has its name.
"""

import re
import signal
from contextlib import suppress
from pathlib import Path

from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.postgresql.administrator import initdb, restore
from guest_worker.datastores.postgresql.connecting import ADMIN
from guest_worker.datastores.postgresql.recipe import program, programs_of
from guest_worker.datastores.process import EngineProcess, text_of

CONFIG, ACCESS_FILE = "upgrade.conf", "upgrade_hba.conf"
# pg_upgrade makes a socket that its own OS user alone can open, and lets both servers listen on no address
ACCESS = f"local all {ADMIN} trust\n"
SETTINGS = {
    "shared_buffers": "32MB",
    "max_connections": "20",
    "max_locks_per_transaction": "1024",  # a schema is restored in few transactions
    "shared_preload_libraries": "",
    "log_min_error_statement": "panic",  # statements carry what the engine keeps of passwords
    "timezone": "UTC",
}
OF_TENANTS = "postgresql.auto.conf"  # what ALTER SYSTEM has set
SCRIPT = "delete_old_cluster.sh"  # which pg_upgrade leaves
FAILED = re.compile(r"(fatal|\*failure\*)\s*$|failed check:")  # how it marks the check that failed
LIST = re.compile(
    r" *A list of [^.:]+ is in the file: +\S+|\"?/[^\s\"]+/[^\s\"]*\"?"
)  # files that nobody can read who is told of them
TAIL = 8192  # bytes of what it says that are read


class SeriesUpgrade:
    """Of one data directory. `run` may be broken off at any moment."""

    def __init__(self, context: EngineContext, folder: Path) -> None:
        self._context = context
        self._engine = context.engine
        self._folder = folder
        # names of copies, so that they are removed with them
        self._new = folder.with_name(f"{folder.name}.kept.new")
        self._before = folder.with_name(f"{folder.name}.kept.before")
        self._process = EngineProcess(context.state, "upgrade", context.engine)

    def run(self) -> None:
        """Have the data directory be of this engine's series; content where it is."""
        self._end_leftovers()
        if not self._folder.exists():  # it was broken off between both renames
            self._engine.move(self._new, self._folder)
        series = self._told(self._folder / "PG_VERSION")
        if series != Path(self._program("postgres")).parts[-3]:
            self._take_over(series)
        self._remove(self._before)

    def _take_over(self, series: str) -> None:
        old = programs_of(series)
        if not (old / "postgres").exists():
            raise EngineFailed(f"the image lacks the programs of PostgreSQL {series}")
        self._write_configuration()
        self._make_ready(old)
        self._remove(self._new)
        initdb(self._context, self._process, self._new)
        self._upgrade(old)
        self._take_settings_along()
        self._remove(self._before)
        self._engine.move(self._folder, self._before)
        self._engine.move(self._new, self._folder)

    def _remove(self, folder: Path) -> None:
        self._process.run([host.find_program("rm"), "-rf", "--", str(folder)])

    def _end_leftovers(self) -> None:
        """End what an attempt before has started: the program first, for it starts servers."""
        self._process.stop(signal.SIGKILL)
        for folder in (self._folder, self._new):
            with suppress(host.CommandFailed):  # none runs there
                self._engine.run([self._program("pg_ctl"), "stop", "-w", "-D", str(folder), "-m", "immediate"])

    def _program(self, name: str) -> str:
        return program(name, self._context.prefix)

    def _told(self, path: Path) -> str:
        """What a file of the engine's user says, which the guest's cannot read."""
        try:
            return self._engine.run([host.find_program("cp"), "--", str(path), "/dev/stdout"]).strip()
        except host.CommandFailed as error:
            raise EngineFailed(f"the data directory does not tell its series: {error.output}") from error

    def _write_configuration(self) -> None:
        self._context.write_config(ACCESS_FILE, ACCESS)
        settings = {**SETTINGS, "hba_file": str(self._context.config_file(ACCESS_FILE))}
        self._context.write_config(CONFIG, text_of(settings, "{key} = '{value}'"))

    def _make_ready(self, old: Path) -> None:
        """The old data directory as it was, with its administrator, and shut down in order by its own engine."""
        control = self._folder / "global/pg_control"
        for there, wanted in (
            (f"{control}.old", str(control)),  # while the files of both are the same, pg_upgrade has it so
            (str(self._folder / OF_TENANTS), str(self._folder / f"{OF_TENANTS}.before")),
        ):
            with suppress(host.CommandFailed):
                self._engine.run([host.find_program("mv"), "-T", "--", there, wanted])
        options = ["-D", str(self._folder), "-c", f"config_file={self._context.config_file(CONFIG)}"]
        restore(self._context, str(old / "postgres"), options)

    def _upgrade(self, old: Path) -> None:
        options = f"-c config_file={self._context.config_file(CONFIG)}"
        command = [self._program("pg_upgrade"), "--link", f"--username={ADMIN}", f"--old-bindir={old}",
                   f"--old-datadir={self._folder}", f"--new-datadir={self._new}", f"--old-options={options}",
                   f"--new-options={options}"]  # fmt: skip
        begin = self._process.log.stat().st_size if self._process.log.exists() else 0
        try:
            self._process.run(command)
        except EngineFailed as error:
            raise EngineFailed(self._complaint(begin) or error.message) from error
        self._engine.remove((self._context.sockets or self._context.state) / SCRIPT)

    def _complaint(self, begin: int) -> str:
        """What it says of the check that failed."""
        size = self._process.log.stat().st_size
        with self._process.log.open("rb") as file:
            file.seek(max(size - TAIL, begin if begin <= size else 0))
            lines = file.read().decode(errors="replace").splitlines()
        failed = [number for number, line in enumerate(lines) if FAILED.search(line)]
        said = lines[failed[-1] + 1 :] if failed else []
        words = " ".join(line.strip() for line in said if line.strip() and line.strip() != "Failure, exiting")
        return LIST.sub("", words).strip()[:500]

    def _take_settings_along(self) -> None:
        before = self._folder / f"{OF_TENANTS}.before"
        with suppress(host.CommandFailed):  # root has removed it
            self._engine.run([host.find_program("cp"), "-p", "--", str(before), str(self._new / OF_TENANTS)])
