"""Whether the data volume has room for more data."""

from pathlib import Path

from contract.domain.errors import EngineFailed
from guest_worker.reserve import MIB, space_of

MARGIN = 64 * MIB  # that an engine has beside, to start and to work in


def require_room(folder: Path, size: int, what: str, otherwise: str) -> None:
    """EngineFailed where the volume of a folder has no room for something of this size in bytes."""
    free = space_of(folder).free
    if free < size + MARGIN:
        raise EngineFailed(
            f"the data volume has {free // MIB} MiB free, and {what} needs {(size + MARGIN) // MIB} MiB: {otherwise}"
        )
