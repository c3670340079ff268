"""What a guest remembers over restarts: small JSON files, replaced atomically, readable by the guest alone."""

import json
import threading
from pathlib import Path
from typing import Any

from contract.domain.errors import EngineFailed
from contract.files import write_private


class StateFile:
    """One JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str) -> Any:
        """Return a value or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Write a value; it is on disk when this returns."""
        with self._lock:
            values = {**self._values, key: value}
            try:
                write_private(self._path, json.dumps(values))
            except OSError as error:  # nothing is remembered that the disk does not have
                raise EngineFailed(f"the server's own disk takes no writes: {error.strerror}") from error
            self._values = values
