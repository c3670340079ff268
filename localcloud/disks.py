"""Volumes: files of their real size, on loop devices where that is possible."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3


@dataclass(frozen=True)
class Attached:
    """How a server sees a volume: a device with its name below `/dev/disk/by-id`, or a folder."""

    name: str
    device: str = ""
    folder: str = ""


class Disks:
    """The files below one folder. Without privilege a volume is a plain folder that is presented as mounted."""

    def __init__(self, folder: Path, *, loops: bool) -> None:
        self._folder = folder
        self.loops = loops and _loops_work()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def make(self, volume_id: str, size_gib: int) -> None:
        """Make an empty volume; no error if it is there."""
        if not self.loops:
            self.folder_of(volume_id).mkdir(parents=True, exist_ok=True)
            return
        with self._file(volume_id).open("ab") as file:
            file.truncate(size_gib * GIB)

    def extend(self, volume_id: str, size_gib: int) -> None:
        """Grow a volume, also under a server that uses it."""
        self.make(volume_id, size_gib)
        for device in self._devices(volume_id):
            _run("losetup", "--set-capacity", device)

    def delete(self, volume_id: str) -> None:
        """Remove a volume; no error if it is gone."""
        if not self.loops:
            _run("rm", "-rf", "--", str(self.folder_of(volume_id)))
            return
        self.detach(volume_id)
        self._file(volume_id).unlink(missing_ok=True)

    def attach(self, volume_id: str) -> Attached:
        """Give the volume a device, if it has none yet; say what a server is to see."""
        name = f"virtio-{volume_id[:20]}"
        if not self.loops:
            return Attached(name, folder=str(self.folder_of(volume_id)))
        devices = self._devices(volume_id)
        device = devices[0] if devices else _run("losetup", "--find", "--show", str(self._file(volume_id))).strip()
        os.chown(device, 0, 0)  # elsewhere the group `disk` may read it
        os.chmod(device, 0o600)
        return Attached(name, device=device)

    def detach(self, volume_id: str) -> None:
        """Take the volume's device away; no error if it has none."""
        for device in self._devices(volume_id) if self.loops else []:
            _run("losetup", "--detach", device)

    def folder_of(self, volume_id: str) -> Path:
        """Where a volume lies that has no device."""
        return self._folder / volume_id

    def _file(self, volume_id: str) -> Path:
        return self._folder / f"{volume_id}.img"

    def _devices(self, volume_id: str) -> list[str]:
        if not self.loops:
            return []
        listed = _run("losetup", "--associated", str(self._file(volume_id)), "--output", "NAME", "--noheadings")
        return listed.split()


def _loops_work() -> bool:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return False
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return found.returncode == 0


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
