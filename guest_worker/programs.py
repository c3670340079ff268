"""The part of the privileged process that runs the engine's programs as the engine's OS user. Standard library alone.

Whoever may ask it gets what that user may do, and nothing of root: privileges are given up before a program is started
or a process is signalled, and descriptors for input and output come from whoever asks.
"""

import os
import pwd
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

TOOLS = ("mkdir", "cp", "mv", "rm", "du", "fallocate", "install")
FOLDERS = ("/usr", "/bin", "/sbin")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
SECONDS = 50
REMEMBERED = 20  # of what was started and has ended: whoever began it may not have asked yet


class NotAllowed(Exception):
    """What is asked for is not done for anybody."""


class Programs:
    """Runs an engine's programs as one user, in a folder of that user's.

    `prefix` is where they are installed, if not in the system's folders.
    """

    def __init__(self, user: pwd.struct_passwd, names: Sequence[str], folder: Path, prefix: str = "") -> None:
        self._uid = user.pw_uid
        self._gid = user.pw_gid
        self._folder = folder
        self._names = (*names, *TOOLS)
        self._folders = (*FOLDERS, prefix) if prefix else FOLDERS
        self._started: dict[int, subprocess.Popen[bytes]] = {}

    def run(self, command: Sequence[str], files: Sequence[int]) -> int:
        """Run to the end; return the exit code, -1 for one that did not end in time."""
        process = self._begin(command, files)
        try:
            return process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return -1

    def start(self, command: Sequence[str], files: Sequence[int]) -> int:
        """Start a process that goes on when this one ends; return its id."""
        newest = list(self._started)[-REMEMBERED:]
        self._started = {pid: each for pid, each in self._started.items() if pid in newest or each.poll() is None}
        process = self._begin(command, files)
        self._started[process.pid] = process
        return process.pid

    def ended(self, pid: int) -> int | None:
        """The exit code of what was started, None while it runs; -1 where it was not by this process."""
        process = self._started.get(pid)
        return -1 if process is None else process.poll()

    def signal(self, pid: int, number: int) -> None:
        """Send a signal as that user: the kernel says which processes are its own."""
        if pid <= 1:
            raise NotAllowed("no such process")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgroups([])
                os.setgid(self._gid)
                os.setuid(self._uid)
                os.kill(pid, number)
                code = 0
            finally:
                os._exit(code)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise NotAllowed(f"process {pid} is not there, or not the engine's")

    def _begin(self, command: Sequence[str], files: Sequence[int]) -> "subprocess.Popen[bytes]":
        if len(files) != 3 or not command:
            raise NotAllowed("a command and three files are needed")
        program = allowed(command[0], self._names, self._folders)
        return subprocess.Popen(
            [str(program), *command[1:]],
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            cwd=self._folder,
            env=ENVIRONMENT,
            user=self._uid,
            group=self._gid,
            extra_groups=[],
            umask=0o027,
            start_new_session=True,
        )


def allowed(program: str, names: Sequence[str], folders: Sequence[str]) -> Path:
    """The path of a program that may be run: one of these, root's own, in one of the folders."""
    path = Path(program)
    if path.name not in names or not path.is_absolute():
        raise NotAllowed(f"{path.name} is none of the engine's programs")
    real = path.resolve(strict=True)
    found = real.stat()
    if not any(real.is_relative_to(each) for each in folders) or found.st_uid != 0 or found.st_mode & stat.S_IWOTH:
        raise NotAllowed(f"{program} is not the system's")
    return path
