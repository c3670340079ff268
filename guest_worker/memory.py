"""What a guest remembers over restarts: small JSON files, replaced atomically, readable by the guest alone."""

import json
import os
import threading
from pathlib import Path
from typing import Any

CALLS_KEPT = 500


class Memory:
    """One JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str) -> Any:
        """Return a value or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any, *, keep: int | None = None) -> None:
        """Write a value; it is on disk when this returns. `keep`: forget the oldest beyond so many."""
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = value
            while keep is not None and len(self._values) > keep:
                self._values.pop(next(iter(self._values)))
            write_private(self._path, json.dumps(self._values))


def write_private(path: Path, text: str) -> None:
    """Replace a file by one of mode 0600, safe against a power cut."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
