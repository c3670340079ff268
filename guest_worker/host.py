"""The only code that runs commands. Argument lists alone; no shell."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class CommandFailed(Exception):
    """A command ended with an error; `output` is the end of what it said."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command} ended with {code}: {output}")
        self.command = command
        self.code = code
        self.output = output


def run(
    command: Sequence[str],
    *,
    given: str | None = None,
    seconds: float | None = 50,
    cwd: Path | None = None,
    keeps: Sequence[int] = (),
) -> str:
    """Run to the end and return what it printed; CommandFailed for another exit code than 0.

    `given` goes to its standard input: the way for secrets, which must not be seen in `ps`. `seconds`: after which it is
    killed; None: never. `keeps`: descriptors that it has open as long as it lives, a lock for instance.
    """
    try:
        done = subprocess.run(
            list(command), input=given, capture_output=True, text=True, timeout=seconds, check=False, cwd=cwd,
            pass_fds=keeps,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(command[0], -1, f"no end after {seconds} s") from error
    if done.returncode != 0:
        raise CommandFailed(command[0], done.returncode, (done.stderr or done.stdout).strip()[-500:])
    return done.stdout


def start(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    source: int = subprocess.DEVNULL,
    cwd: Path | None = None,
) -> int:
    """Start a process that outlives this one, with its input from a descriptor; return its id."""
    with log.open("ab") as output:
        return pipe(command, (source, output.fileno()), output.fileno(), environment=environment, cwd=cwd)


def pipe(
    command: Sequence[str],
    ends: tuple[int, int],
    said: int,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Start a process that reads one descriptor and writes another, its messages to a third; return its id."""
    process = subprocess.Popen(
        list(command),
        stdin=ends[0],
        stdout=ends[1],
        stderr=said,
        start_new_session=True,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    _children[process.pid] = process
    return process.pid


_children: dict[int, "subprocess.Popen[bytes]"] = {}


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _children.pop(pid, None)
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def exit_code(pid: int) -> int | None:
    """The exit code of what `start` has started, None while it runs; -1 where it is not known any more."""
    child = _children.get(pid)
    return child.poll() if child is not None else None if alive(pid) else -1


def started_at(pid: int) -> str:
    """The start time of a process in clock ticks since boot, or an empty string: tells a reused id apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def processes_with(name: str, value: str) -> list[int]:
    """Ids of processes that were started with this in their environment, or by one that was."""
    wanted, found = f"{name}={value}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended, or is another user's
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def find_program(name: str, *folders: str) -> str:
    """Return the path of a program: in these folders, else on PATH; FileNotFoundError when it is nowhere."""
    for folder in folders:
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found
