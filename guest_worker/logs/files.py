"""Log files that the guest keeps small, whoever writes to them.

They lie in folders of the guest's own. An engine with an OS user of its own may write to a file and can neither replace nor
link it, so that what is read here is what was written there.
"""

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contract.logs import LineFormatter

MIB = 2**20
LONGEST = 16 * MIB  # bytes after which a file is emptied; what was in it is kept once more


@dataclass(frozen=True)
class Part:
    """What a log has in one file. `number` rises with each rotation."""

    number: int
    path: Path
    size: int


class LogFile:
    """A log: the file that is written to, and the one before, which has a number at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = re.compile(re.escape(path.name) + r"\.([0-9]{1,9})")

    def make(self, mode: int) -> None:
        """Make the file if it is not there."""
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        self.path.chmod(mode)

    @property
    def size(self) -> int:
        """Bytes of the file that is written to."""
        try:
            return self.path.lstat().st_size
        except FileNotFoundError:
            return 0

    def parts(self) -> list[Part]:
        """What is kept, the oldest first."""
        older = [Part(number, path, path.lstat().st_size) for number, path in sorted(self._older().items())]
        number = older[-1].number + 1 if older else 1
        return [*older, *([Part(number, self.path, self.size)] if self.path.exists() else [])]

    def rotate(self) -> bool:
        """Copy a file that has grown aside and empty it, whoever writes goes on at its end; whether it was emptied."""
        size = self.size
        if size <= LONGEST:
            return False
        older = self._older()
        with suppress(OSError):  # no space for a copy: the log itself must not fill the disk either
            self._copy(size, max(older, default=0) + 1)
        with suppress(OSError):
            for path in older.values():
                path.unlink()
            self._empty()
        return True

    def _copy(self, size: int, number: int) -> None:
        new = self.path.with_name(f".{self.path.name}.new")
        with reading(self.path) as source, new.open("wb") as target:
            source.seek(size - LONGEST if size > 4 * LONGEST else 0)
            left = 5 * LONGEST  # an engine may write faster than we read
            while left > 0 and (data := source.read(min(MIB, left))):
                target.write(data)
                left -= len(data)
        new.chmod(0o600)
        new.rename(self.path.with_name(f"{self.path.name}.{number}"))

    def _empty(self) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def _older(self) -> dict[int, Path]:
        found = ((self._kept.fullmatch(each.name), each) for each in self.path.parent.glob(f"{self.path.name}.*"))
        return {int(match[1]): path for match, path in found if match}


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Read a file that is a file, and no link to one; OSError otherwise."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is no file")
        yield file


class KeptLog(logging.FileHandler):
    """Writes to a log file, which it keeps small."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.setFormatter(LineFormatter())
        self._file = LogFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        super().emit(record)
        self._file.rotate()


def keep_log(path: Path) -> None:
    """Have this process's log written to a file, too."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    LogFile(path).make(0o600)
    logging.getLogger().addHandler(KeptLog(path))
