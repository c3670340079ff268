"""Orders that change an instance that is there."""

from pydantic import Field

from contract.domain.backups import NewBackup
from contract.domain.datastores import DATASTORES
from contract.domain.errors import BadRequest, Unsupported
from contract.domain.instance import DatastoreVersion, InstanceFacts
from contract.domain.operation import InstanceOrder
from contract.domain.tls import Tls

MIB = 1024 * 1024
NOT_COPIED = 128 * MIB  # of what is used: the reserve, and what the file system has for itself


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


class BackUpOrder(InstanceOrder):
    """Back one instance up."""

    backup: NewBackup


def tls_wanted(instance: InstanceFacts, order: ChangeTlsOrder) -> Tls:
    """What an instance is to have; BadRequest for what it cannot."""
    wanted = instance.tls_before if order.rollback else order.tls
    if wanted is None:
        raise BadRequest(f"Instance {instance.id} has no earlier TLS configuration to go back to.")
    if not order.rollback:
        wanted.check(DATASTORES[instance.version.manager].of(instance.version.number))
    return wanted


def check_upgrade(instance: InstanceFacts, wanted: DatastoreVersion) -> None:
    """Raise BadRequest for a version that the data cannot be taken to, Unsupported where the volume has no room for the way.

    Within a series (10.11, 15, 9.7) an engine's files stay the same. Another series changes them. A configuration group is
    one of a version's.
    """
    now = instance.version
    if wanted.datastore_id != now.datastore_id:
        raise BadRequest(f"Datastore version '{wanted.name}' is not one of datastore '{now.datastore}'.")
    if wanted.number != now.number:
        _check_series(now, wanted)
    if instance.configuration is not None and wanted.id != now.id:
        raise BadRequest(
            f"Configuration group {instance.configuration.id} is one of version '{now.name}': detach it first."
        )
    if wanted.number != now.number:
        _check_room(instance)


def _check_series(now: DatastoreVersion, wanted: DatastoreVersion) -> None:
    others = DATASTORES[now.manager].upgrades.get(now.number, ())
    if wanted.number in others and wanted.manager == now.manager:
        return
    if _is_older(wanted.number, now.number):
        reason = "an engine does not run on the data of a newer one"
    elif others:
        reason = f"only versions of the same series and of {', '.join(others)} can be"
    else:
        reason = "only versions of the same series can be"
    raise BadRequest(f"{now.datastore} {now.number} cannot be changed to {wanted.number}: {reason}.")


def _is_older(one: str, other: str) -> bool:
    numbers = [[int(part) for part in each.split(".") if part.isdigit()] for each in (one, other)]
    return numbers[0] < numbers[1]


def _check_room(instance: InstanceFacts) -> None:
    """As far as the records know; the guest looks again."""
    used, total = instance.volume_used_bytes, instance.volume_total_bytes
    if used is not None and total is not None and total - used < used - NOT_COPIED:
        raise Unsupported(
            f"The data volume has no room for a copy of the data, which is the way back: {used // MIB} of {total // MIB} MiB "
            "are used. Resize the volume first."
        )
