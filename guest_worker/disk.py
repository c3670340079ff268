"""`python -m guest_worker.disk`: the one privileged process of a guest. Finds, formats, grows and mounts the data volume.

It listens on a socket of the machine for two verbs, `prepare` and `status`, from root and the guest's user alone. It
formats a device only when nothing at all is on it.
"""

import json
import os
import re
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any

from guest_worker.host import CommandFailed, run
from guest_worker.places import Places

VOLUME_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
NOTHING_FOUND = 2  # blkid's exit code


class Refused(Exception):
    """What was asked is not done; the message says why."""


class Disk:
    """The data volume of this machine."""

    def __init__(self, places: Places) -> None:
        self._places = places

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
        owner = self._owner()
        os.chown(self._places.data, owner, owner)
        self._places.data.chmod(0o750)
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

    def _owner(self) -> int:
        """The guest's user: the owner of its home."""
        return (self._places.root / "home").stat().st_uid

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
        return uid in (0, self._owner())


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
        while True:
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                _answer(disk, client)


def _answer(disk: Disk, client: socket.socket) -> None:
    uid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    try:
        if not disk.may_ask(uid):
            raise Refused("not for you")
        with client.makefile("r") as lines:
            asked = json.loads(lines.readline(1000))
        answer: dict[str, Any] = {"done": _do(disk, asked)}
    except (Refused, CommandFailed, OSError, ValueError, KeyError, TypeError) as error:
        answer = {"error": str(error)}
    try:
        client.sendall(json.dumps(answer).encode() + b"\n")
    except OSError as error:
        say(f"a client went away: {error}")


def _do(disk: Disk, asked: dict[str, Any]) -> dict[str, int]:
    if asked["verb"] == "prepare":
        return disk.prepare(str(asked["volume_id"]))
    if asked["verb"] == "status":
        return disk.status()
    raise Refused("there is no such verb")


def ask(places: Places, question: dict[str, str]) -> dict[str, int]:
    """Ask the privileged process; Refused with its words, OSError while it is not there."""
    folder = os.open(places.disk_socket.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(55)
            client.connect(f"/proc/self/fd/{folder}/{places.disk_socket.name}")
            client.sendall(json.dumps(question).encode() + b"\n")
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
