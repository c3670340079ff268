"""Which operation is the newest that was here; older ones change nothing any more."""

import threading
from collections.abc import Callable
from pathlib import Path

from contract.domain.errors import FenceLost
from contract.ports.guest import Fenced
from guest_worker.state_file import StateFile


class Fences:
    """The highest number of an operation that the guest has seen, on its disk."""

    def __init__(self, path: Path, begins: Callable[[int], None]) -> None:
        """`begins` is told the number of a newer operation before it counts."""
        self._begins = begins
        self._lock = threading.Lock()
        self._state = StateFile(path)

    @property
    def newest(self) -> int:
        """The highest number so far."""
        return int(self._state.get("fence") or 0)

    def admit(self, order: Fenced) -> None:
        """Remember the order's number; FenceLost when a newer operation was here before."""
        with self._lock:
            if order.fence < self.newest:
                raise FenceLost(f"operation number {order.fence} is older than {self.newest}")
            if order.fence > self.newest:
                self._begins(order.fence)
                self._state.put("fence", order.fence)
