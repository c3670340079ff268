"""State: documents by kind and id, in memory and in SQLite; what was said to a client is on disk."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Doc = dict[str, Any]


class Store:
    """Reads from memory, writes through. One process at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS docs (kind TEXT, id TEXT, doc TEXT, PRIMARY KEY (kind, id))")
        self._docs: dict[str, dict[str, Doc]] = {}
        for kind, key, doc in self._db.execute("SELECT kind, id, doc FROM docs ORDER BY rowid"):
            self._docs.setdefault(kind, {})[key] = json.loads(doc)

    def put(self, kind: str, doc: Doc) -> Doc:
        """Write a document; its `id` says which."""
        doc["updated_at"] = now()
        self._db.execute("INSERT OR REPLACE INTO docs VALUES (?, ?, ?)", (kind, doc["id"], json.dumps(doc)))
        self._docs.setdefault(kind, {})[doc["id"]] = doc
        return doc

    def get(self, kind: str, key: str) -> Doc | None:
        """Return a document or None."""
        return self._docs.get(kind, {}).get(key)

    def all(self, kind: str) -> Iterator[Doc]:
        """All documents of a kind, the oldest first."""
        yield from list(self._docs.get(kind, {}).values())

    def drop(self, kind: str, key: str) -> None:
        """Forget a document; no error if it is not there."""
        self._db.execute("DELETE FROM docs WHERE kind = ? AND id = ?", (kind, key))
        self._docs.get(kind, {}).pop(key, None)


def now() -> str:
    """The time as OpenStack writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise_now() -> str:
    """The time with microseconds, as Cinder and Neutron write it where order matters."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
