"""`python -m guest_worker.disk`: the one privileged process of a guest. Mounts the data volume; starts the engine.

It listens on a socket of the machine, for root and the guest's user alone. `prepare` and `status` find, format, grow
and mount the volume; a device is formatted only when nothing at all is on it. `run`, `start` and `signal` are about the
engine's programs, as the engine's user (see `programs.py`).
"""

import json
import os
import pwd
import re
import socket
import stat
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guest_worker.host import CommandFailed, run
from guest_worker.places import ENGINE, GUEST, Places
from guest_worker.programs import NotAllowed, Programs

VOLUME_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
NOTHING_FOUND = 2  # blkid's exit code
LONGEST = 65_536  # bytes of a question
FILES = 3  # descriptors that may come with it


class Refused(Exception):
    """What was asked is not done; the message says why."""


class Disk:
    """The data volume of this machine."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.guest = pwd.getpwnam(GUEST)
        self.engine = pwd.getpwnam(ENGINE)

    def prepare(self, volume_id: str) -> dict[str, int]:
        """Mount the volume, formatted if it was blank and grown to its device; return its size."""
        if not VOLUME_ID.fullmatch(volume_id):
            raise Refused("no such volume")
        device = self._device(volume_id)
        if not self._mounted():
            self._format_if_blank(device)
            self._places.data.mkdir(parents=True, exist_ok=True)
            run(["mount", "-t", "ext4", "-o", "noatime,nodev,nosuid,noexec", device, str(self._places.data)])
        run(["resize2fs", device])
        os.chown(self._places.data, 0, 0)
        self._places.data.chmod(0o1777)  # guest and engine write there, and neither replaces what is the other's
        self._remember(volume_id)
        return self.status()

    def status(self) -> dict[str, int]:
        """Bytes of the mounted volume; Refused while it is not mounted."""
        if not self._mounted():
            raise Refused("the volume is not mounted")
        found = os.statvfs(self._places.data)
        return {"total_bytes": found.f_blocks * found.f_frsize,
                "used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize}  # fmt: skip

    def _device(self, volume_id: str) -> str:
        link = self._places.root / "dev/disk/by-id" / f"virtio-{volume_id[:20]}"
        try:
            device = link.resolve(strict=True)
        except OSError:
            raise Refused(f"volume {volume_id} is not attached") from None
        if not stat.S_ISBLK(device.stat().st_mode):
            raise Refused(f"volume {volume_id} is no disk")
        return str(device)

    def _mounted(self) -> bool:
        wanted = str(self._places.data)
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return any(line.split()[1].replace("\\040", " ") == wanted for line in lines)

    def _format_if_blank(self, device: str) -> None:
        try:
            kind = run(["blkid", "--probe", "--match-tag", "TYPE", "--output", "value", device]).strip()
        except CommandFailed as error:
            if error.code != NOTHING_FOUND:
                raise
            run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", device])
            return
        if kind != "ext4":
            raise Refused(f"the volume carries {kind or 'something unknown'}; it is not touched")
        self._check(device)

    def _check(self, device: str) -> None:
        try:
            run(["e2fsck", "-p", device])
        except CommandFailed as error:
            if error.code not in (0, 1):  # 1: errors were corrected
                raise

    def _remember(self, volume_id: str) -> None:
        self._places.disk_memory.write_text(json.dumps({"volume_id": volume_id}))

    def mount_again(self) -> None:
        """After a boot: what was mounted before is mounted again."""
        memory = self._places.disk_memory
        if not memory.exists():
            return
        try:
            self.prepare(json.loads(memory.read_text())["volume_id"])
        except (Refused, CommandFailed, OSError) as error:
            say(f"cannot mount the volume again: {error}")

    def may_ask(self, uid: int) -> bool:
        """Whether this user is let in."""
        return uid in (0, self.guest.pw_uid)


def serve(disk: Disk, places: Places) -> None:
    """Answer one line of JSON with one line of JSON, one client at a time."""
    path = places.disk_socket
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # the whole path may be longer than a socket's may be
        path.chmod(0o666)  # who asks is checked by the kernel's word on the peer
        listener.listen(8)
        disk.mount_again()
        programs = Programs(disk.engine.pw_uid, disk.engine.pw_gid)
        while True:
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                _answer(disk, programs, client)


def _answer(disk: Disk, programs: Programs, client: socket.socket) -> None:
    uid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    files: list[int] = []
    try:
        if not disk.may_ask(uid):
            raise Refused("not for you")
        asked = _hear(client, files)
        answer: dict[str, Any] = {"done": _do(disk, programs, asked, files)}
    except (Refused, NotAllowed, CommandFailed, OSError, ValueError, KeyError, TypeError) as error:
        answer = {"error": str(error)}
    finally:
        for each in files:
            os.close(each)
    try:
        client.sendall(json.dumps(answer).encode() + b"\n")
    except OSError as error:
        say(f"a client went away: {error}")


def _hear(client: socket.socket, files: list[int]) -> dict[str, Any]:
    """One line of JSON, with its descriptors; all that came are in `files`, whatever happens."""
    text = b""
    while not text.endswith(b"\n"):
        part, received, _, _ = socket.recv_fds(client, LONGEST, FILES)
        files += received
        text += part
        if not part or len(text) > LONGEST or len(files) > FILES:
            raise Refused("that is no question")
    asked: dict[str, Any] = json.loads(text)
    return asked


def _do(disk: Disk, programs: Programs, asked: dict[str, Any], files: list[int]) -> dict[str, int]:
    verb = asked["verb"]
    if verb == "prepare":
        return disk.prepare(str(asked["volume_id"]))
    if verb == "status":
        return disk.status()
    if verb == "signal":
        programs.signal(int(asked["pid"]), int(asked["number"]))
        return {}
    if verb in ("run", "start"):
        command = [str(each) for each in asked["command"]]
        return {verb: getattr(programs, verb)(command, files)}
    raise Refused("there is no such verb")


def ask(places: Places, question: Mapping[str, Any], files: Sequence[int] = ()) -> dict[str, int]:
    """Ask the privileged process; Refused with its words, OSError while it is not there."""
    folder = os.open(places.disk_socket.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(58)
            client.connect(f"/proc/self/fd/{folder}/{places.disk_socket.name}")
            text = json.dumps(question).encode() + b"\n"
            socket.send_fds(client, [text[:1]], files)
            client.sendall(text[1:])
            with client.makefile("r") as lines:
                answer = json.loads(lines.readline())
    finally:
        os.close(folder)
    if "error" in answer:
        raise Refused(answer["error"])
    done: dict[str, int] = answer["done"]
    return done


def say(text: str) -> None:
    """Log a line."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} disk: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    here = Places(Path(os.environ.get("ROOT", "/")))
    serve(Disk(here), here)
