"""The order to give an instance other settings."""

from uuid import UUID

from contract.domain.operation import InstanceOrder


class ReconfigureOrder(InstanceOrder):
    """Give one instance the settings of a configuration group, or of none.

    With `refresh`: those that the group which it has says now.
    """

    configuration_id: UUID | None = None
    refresh: bool = False
