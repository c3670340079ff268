"""What a guest knows of its account calls, on its own disk: how each ended, and what would take an unfinished one back.

A retry of a call that has ended is answered from here. A call that was broken off is open here, with its undo notes;
whoever comes next undoes it before anything else is changed.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract.domain.errors import EngineFailed

KEPT = 500  # calls that have ended, for retries
SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, planned INTEGER, outcome TEXT);
CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, key TEXT NOT NULL, undo TEXT NOT NULL);
"""


@dataclass(frozen=True)
class OpenCall:
    """A call that has begun and not ended: how many changes it was to make, and its undo notes, the newest first."""

    key: str
    planned: int
    notes: tuple[tuple[int, str], ...]


class Journal:
    """A file of SQLite; each statement is on disk when it returns. Answers and notes hold secrets sealed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.executescript(SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                try:
                    yield self._file.execute
                except BaseException:
                    self._file.execute("ROLLBACK")
                    raise
                self._file.execute("COMMIT")
            except sqlite3.Error as error:
                raise EngineFailed(f"the guest cannot write its journal: {error}") from error

    def outcome(self, key: str) -> str | None:
        """How a call has ended; None while it is open or unknown."""
        with self._transaction() as do:
            found = do("SELECT outcome FROM calls WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def begin(self, key: str, planned: int) -> None:
        """Open a call of so many changes; from now on it is undone if it does not end."""
        with self._transaction() as do:
            do("INSERT INTO calls (key, planned) VALUES (?, ?)", (key, planned))

    def note(self, key: str, undo: str) -> None:
        """Write down what takes the next change back, before it is made."""
        with self._transaction() as do:
            do("INSERT INTO notes (key, undo) VALUES (?, ?)", (key, undo))

    def strike(self, note: int) -> None:
        """Forget a note whose change was undone."""
        with self._transaction() as do:
            do("DELETE FROM notes WHERE number = ?", (note,))

    def end(self, key: str, outcome: str | None) -> None:
        """Close a call with its outcome, and forget its notes; None: as if it had never come."""
        with self._transaction() as do:
            do("DELETE FROM notes WHERE key = ?", (key,))
            do("DELETE FROM calls WHERE key = ?", (key,))
            if outcome is not None:
                do("INSERT INTO calls (key, outcome) VALUES (?, ?)", (key, outcome))
            do(
                "DELETE FROM calls WHERE outcome IS NOT NULL AND number NOT IN "
                "(SELECT number FROM calls WHERE outcome IS NOT NULL ORDER BY number DESC LIMIT ?)",
                (KEPT,),
            )

    def open_calls(self) -> list[OpenCall]:
        """Calls that have begun and not ended, the newest first."""
        with self._transaction() as do:
            calls = do("SELECT key, planned FROM calls WHERE outcome IS NULL ORDER BY number DESC").fetchall()
            notes = {
                key: tuple(do("SELECT number, undo FROM notes WHERE key = ? ORDER BY number DESC", (key,)))
                for key, _ in calls
            }
        return [OpenCall(key, planned, notes[key]) for key, planned in calls]
