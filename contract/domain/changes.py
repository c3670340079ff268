"""Orders that change an instance that is there."""

from pydantic import Field

from contract.domain.operation import InstanceOrder


class ResizeVolumeOrder(InstanceOrder):
    """Grow the data volume of one instance."""

    size_gib: int = Field(ge=1)
