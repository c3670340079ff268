"""Orders that change an instance that is there."""

from pydantic import Field

from contract.domain.datastores import DATASTORES
from contract.domain.errors import BadRequest
from contract.domain.instance import DatastoreVersion, InstanceFacts
from contract.domain.operation import InstanceOrder
from contract.domain.tls import Tls


class ResizeVolumeOrder(InstanceOrder):
    """Grow the data volume of one instance."""

    size_gib: int = Field(ge=1)


class RebuildOrder(InstanceOrder):
    """Put the server of one instance on an image, by id or name; None: the one that its version has now."""

    image: str | None = None


class UpgradeOrder(InstanceOrder):
    """Run another version of the same datastore, by name or id; the same version takes the newest image of it."""

    version: str


class ChangeTlsOrder(InstanceOrder):
    """Give one instance other TLS; or with `rollback` what it had before the last change."""

    tls: Tls = Tls()
    rollback: bool = False


def tls_wanted(instance: InstanceFacts, order: ChangeTlsOrder) -> Tls:
    """What an instance is to have; BadRequest for what it cannot."""
    wanted = instance.tls_before if order.rollback else order.tls
    if wanted is None:
        raise BadRequest(f"Instance {instance.id} has no earlier TLS configuration to go back to.")
    if not order.rollback:
        wanted.check(DATASTORES[instance.version.manager].of(instance.version.number))
    return wanted


def check_upgrade(instance: InstanceFacts, wanted: DatastoreVersion) -> None:
    """Raise BadRequest for a version that the data cannot be run with, or could not go back from.

    Within a series (10.11, 15, 9.7) an engine's files stay the same. Another series would change them, and none is upgraded
    to by us yet. A configuration group is one of a version's.
    """
    now = instance.version
    if wanted.datastore_id != now.datastore_id:
        raise BadRequest(f"Datastore version '{wanted.name}' is not one of datastore '{now.datastore}'.")
    if wanted.number != now.number:
        raise BadRequest(f"{now.datastore} {now.number} cannot be changed to {wanted.number}: only versions of the same series "
                         "can be.")  # fmt: skip
    if instance.configuration is not None and wanted.id != now.id:
        raise BadRequest(
            f"Configuration group {instance.configuration.id} is one of version '{now.name}': detach it first."
        )
