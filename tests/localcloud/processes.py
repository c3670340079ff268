"""Processes of the embedded cloud's servers, as the machine's own tools show them."""

import contextlib
import subprocess
from pathlib import Path


def listed() -> list[tuple[int, int, str]]:
    """What `ps` shows: user id, process id, command line."""
    shown = subprocess.run(["ps", "-eo", "uid=,pid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in shown.splitlines()]
    return [(int(uid), int(pid), args[0] if args else "") for uid, pid, *args in rows]


def of_user(uid: int) -> list[tuple[int, str]]:
    """Process ids and command lines of one user."""
    return [(pid, args) for owner, pid, args in listed() if owner == uid]


def running(uid: int) -> list[tuple[int, str]]:
    """The same, but for those that the server's init has forked and that have not become what they are to be yet."""
    return [each for each in of_user(uid) if "/init.py" not in each[1]]


def of_server(server_id: str) -> list[tuple[int, int, str]]:
    """Processes that were started with a server's marker in their environment; a process may have dropped it."""
    return [each for each in listed() if _marked(each[1], server_id)]


def runs(server_id: str) -> bool:
    """Whether a process of a server's image runs: its init says that it booted before it starts them."""
    return any(uid != 0 and "/init.py" not in args for uid, _, args in of_server(server_id))


def guest_user(server_id: str) -> int:
    """The one unprivileged user that a server's processes run as."""
    (uid,) = {uid for uid, _, _ in of_server(server_id) if uid != 0}
    return uid


def as_guest(server_id: str, script: str) -> str:
    """Run a shell script in a server as its unprivileged user; what it printed."""
    pid, uid = next((pid, uid) for uid, pid, _ in of_server(server_id) if uid != 0)
    enter = [
        "nsenter",
        "--target",
        str(pid),
        "--mount",
        "--pid",
        "--root",
        "--wd",
        "--setuid",
        str(uid),
        "--setgid",
        str(uid),
    ]
    done = subprocess.run([*enter, "/bin/sh", "-c", script], capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin"})  # fmt: skip
    return done.stdout + done.stderr


def _marked(pid: int, server_id: str) -> bool:
    with contextlib.suppress(OSError):
        return f"LOCALCLOUD_SERVER={server_id}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False
