"""What is done to the server that a database runs on."""

from contract.domain.fact import Fact
from contract.domain.operation import InstanceOrder


class PowerOrder(InstanceOrder):
    """Stop, start or reboot the server of one instance."""


class MigrateOrder(InstanceOrder):
    """Move the server of one instance to another host of Nova's choice, or to the one that is named."""

    host: str | None = None


class Migration(Fact):
    """Which server is to move, and where to; None: as Nova chooses."""

    server_id: str
    host: str | None = None
