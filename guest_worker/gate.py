"""Who may still change anything: no operation that is older than one that was here; and account calls, unless an operation
has shut them out, with a reason that the tenant reads.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from contract.domain.errors import Busy, FenceLost
from contract.ports.guest import Fenced, GateOrder
from guest_worker.state_file import StateFile

STOPPED = "an operation has stopped the database; please try again when it has ended"


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


class Gate:
    """Closed by an operation until it opens it, or until a newer one begins: never for ever. Kept on the guest's disk."""

    def __init__(self, path: Path, fences: Fences, is_stopped: Callable[[], bool]) -> None:
        """`is_stopped`: whether an operation has stopped the engine; nobody is let in then."""
        self._state = StateFile(path)
        self._fences = fences
        self._is_stopped = is_stopped

    def close(self, order: GateOrder) -> None:
        """Let no call begin from now on; on disk when this returns."""
        self._fences.admit(order)
        self._state.put("closed", {"fence": order.fence, "reason": order.reason})

    def open(self, order: Fenced) -> None:
        """Let calls in again."""
        self._fences.admit(order)
        self._state.put("closed", None)

    @property
    def reason(self) -> str | None:
        """Why no call is let in, or None."""
        closed = self._state.get("closed")
        if closed and closed["fence"] == self._fences.newest:
            return str(closed["reason"])
        return STOPPED if self._is_stopped() else None

    def check(self) -> None:
        """Busy with the reason where no call is let in."""
        reason = self.reason
        if reason is not None:
            raise Busy(f"Nothing was changed: {reason}.")
