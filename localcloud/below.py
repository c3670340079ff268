"""Files and folders below a server's root, made by a privileged process that follows no link there.

Paths are walked part by part from the root's descriptor. What a server's users put in the way (a link, a pipe, a file
in a folder's place) is an error, and nothing beyond the root is reached, also not when it is swapped meanwhile.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Owner:
    """Ids of a user and a group; None, None leaves them as they are."""

    uid: int | None = 0
    gid: int | None = 0


ROOT, OURS = Owner(), Owner(None, None)


@contextlib.contextmanager
def opened(root: Path, path: str) -> Iterator[int]:
    """A descriptor of a folder below the root, made where it is missing (0755)."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in parts_of(path):
            inner = _enter(descriptor, part)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(descriptor: int, name: str) -> int:
    made = True
    try:
        os.mkdir(name, 0o755, dir_fd=descriptor)
    except FileExistsError:
        made = False
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
    if made:
        os.fchmod(inner, 0o755)  # whatever the umask is
    return inner


def folder(root: Path, path: str, mode: int, owner: Owner) -> None:
    """Make a folder, and give it this mode and owner when it is there."""
    with opened(root, path) as descriptor:
        _give(descriptor, mode, owner)


def write(root: Path, path: str, content: bytes, mode: int, owner: Owner) -> None:
    """Replace a file: whatever stood in its place keeps its content."""
    with _parent(root, path) as (descriptor, name):
        new = f".{name}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(new, flags, 0o600, dir_fd=descriptor), "wb") as file:
            file.write(content)
            file.flush()
            _give(file.fileno(), mode, owner)
        os.replace(new, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)


def append(root: Path, path: str, content: bytes, mode: int, owner: Owner) -> None:
    """Append to a file, made where it is missing; OSError for what is no plain file of one name."""
    with _parent(root, path) as (descriptor, name):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=descriptor), "ab") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise OSError(f"{path} is no file of its own")
            file.write(content)
            _give(file.fileno(), mode, owner)


def link(root: Path, path: str, target: str) -> None:
    """Make a symbolic link, in a folder that only root writes."""
    with _parent(root, path) as (descriptor, name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=descriptor)
        os.symlink(target, name, dir_fd=descriptor)


def empty(root: Path, path: str) -> None:
    """Remove all that a folder holds, following no link."""
    with opened(root, path) as descriptor:
        for name in os.listdir(descriptor):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(name, dir_fd=descriptor)
            else:
                os.unlink(name, dir_fd=descriptor)


def parts_of(path: str) -> tuple[str, ...]:
    """A path's names; `..` leads nowhere."""
    found: list[str] = []
    for part in PurePosixPath("/" + path).parts[1:]:
        if part == "..":
            del found[-1:]
        else:
            found.append(part)
    return tuple(found)


@contextlib.contextmanager
def _parent(root: Path, path: str) -> Iterator[tuple[int, str]]:
    *folders, name = parts_of(path) or ("",)
    if not name:
        raise OSError(f"{path} names no file")
    with opened(root, "/".join(folders)) as descriptor:
        yield descriptor, name


def _give(descriptor: int, mode: int, owner: Owner) -> None:
    if owner.uid is not None and owner.gid is not None:
        os.fchown(descriptor, owner.uid, owner.gid)
    os.fchmod(descriptor, mode)
