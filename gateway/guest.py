"""A guest whose token was believed."""

from dataclasses import dataclass
from uuid import UUID

from contract.names import guest_queue


@dataclass(frozen=True, slots=True)
class Guest:
    """Whose call it is. Everything that a call may name is derived from this, never taken from the call."""

    instance_id: UUID
    generation: int

    @property
    def queue(self) -> str:
        """The one queue that it may poll; also its identity in Temporal."""
        return guest_queue(self.instance_id)
