"""Space and inodes of the data volume that are held back, so that an engine can start when all else is full."""

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
PIECES = 64  # files of the reserve: each holds an inode, too
SHARE = 16  # of a small volume no more than this part is held, or counts as scarce
PIECE = MIB
SCARCE = 32 * MIB  # what PostgreSQL needs to go on: a segment of its log and some more
ENOUGH = 48 * MIB
FEW_FILES = 64
LEFT = 4 * MIB  # what is left to a running engine while the reserve is taken back

FULL = "the data volume is full: drop databases or delete rows to free space, or resize the volume"
NO_FILES = "the data volume has no inodes left for more files: drop databases or tables, or resize the volume"
READ_ONLY = "the data volume is read-only, as after errors of its file system: an operator must look at it"
GONE = "the data volume is not mounted: it may have been detached from the server"


@dataclass(frozen=True)
class Space:
    """What a file system has, in bytes and files."""

    total: int
    used: int
    free: int
    files_free: int | None
    read_only: bool


def space_of(folder: Path) -> Space:
    """Ask the kernel; OSError where there is no such folder."""
    found = os.statvfs(folder)
    size = found.f_frsize
    return Space(
        total=found.f_blocks * size,
        used=(found.f_blocks - found.f_bfree) * size,
        free=found.f_bavail * size,
        files_free=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY) or _emergency(folder),
    )


def _emergency(folder: Path) -> bool:
    """Whether ext4 takes no writes after an error: newer kernels say so among the mount's options alone."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        if words[1].replace("\\040", " ") == str(folder):
            return "emergency_ro" in words[3].split(",")
    return False


class Reserve:
    """Files on the data volume that nothing is in. Deleting them is the room that an engine recovers in."""

    def __init__(self, data: Path, *, mounted_by_us: bool = False) -> None:
        self._data = data
        self._folder = data / "reserve"
        self._mounted_by_us = mounted_by_us
        self._was_scarce = False

    @property
    def there(self) -> bool:
        """Whether the volume is where it should be."""
        return self._data.is_dir() and (not self._mounted_by_us or os.path.ismount(self._data))

    def problem(self) -> str | None:
        """Say in a sentence why the engine can take no more data, if that is so."""
        if not self.there:
            return GONE
        space = space_of(self._data)
        if space.read_only:
            return READ_ONLY
        if space.files_free is not None and space.files_free < FEW_FILES:
            return NO_FILES
        wanted = ENOUGH if self._was_scarce else SCARCE  # or the status would go to and fro
        self._was_scarce = space.free < min(wanted, space.total // SHARE * wanted // SCARCE)
        return FULL if self._was_scarce else None

    def hold(self, *, leave: int = ENOUGH) -> bool:
        """Make what is missing of it, as long as so many bytes are left; return whether it is whole.

        A volume that was grown is to have as much as one that was made so large.
        """
        if not self.there:
            return False
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if self._folder.is_symlink():  # the engine's user writes to the volume, too
                return False
            wanted = min(PIECE, space_of(self._data).total // SHARE // PIECES)
            sizes = {each.name: each.lstat().st_size for each in self._folder.iterdir()}
            for name in (str(number) for number in range(PIECES)):
                if sizes.get(name, -1) < wanted and not self._make(name, max(1, wanted), leave):
                    return False
        except OSError:
            return False
        return True

    def _make(self, name: str, size: int, leave: int) -> bool:
        if space_of(self._data).free < leave + size:
            return False
        path = self._folder / name
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(handle)
        return True

    def release(self) -> None:
        """Give it up; no error if there is none."""
        if self._folder.is_dir() and not self._folder.is_symlink():
            for each in self._folder.iterdir():
                each.unlink(missing_ok=True)
