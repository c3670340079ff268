"""What an operation of each kind is: the one table that admission, records, runbooks and API read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from contract.domain.instance import InstanceStatus
from contract.domain.operation import OperationKind


class Needs(StrEnum):
    """What has to exist for an operation to be admitted. What exists counts, not a status."""

    NOTHING = "nothing"  # it makes the instance
    INSTANCE = "instance"  # a record, whatever is left of its resources
    SERVER = "server"  # a server that was built, and is not being deleted


@dataclass(frozen=True)
class Kind:
    """One row."""

    needs: Needs
    shows: InstanceStatus | None = None
    """The instance's status while the operation runs; None leaves it as it was."""
    repairs: frozenset[OperationKind] = frozenset()
    """Kinds that it, and its settling, put right where one of them was interrupted. After others it is refused."""
    cancellable: bool = False
    """Whether the tenant may cancel it; its runbook still says from which step on it only goes forward."""
    only_repairs: bool = False
    """Whether it is refused where nothing was interrupted."""
    resizes: bool = False
    """Whether it ends with another flavor or volume size, or with the same: the larger is charged for meanwhile."""
    starts: bool = False
    """Whether it may begin where the server was stopped by an operation."""
    removes: bool = False
    """Whether less is left of the instance's resources, also when it fails."""
    rule: str | None = None
    """Rule of oslo.policy that says who may start it; None: nobody through the API."""


ALL = frozenset(OperationKind)
# what is put right by having the server run, and the engine on it
RUNS_AGAIN = frozenset({OperationKind.RESTART, OperationKind.STOP, OperationKind.START, OperationKind.REBOOT})
KINDS: Mapping[OperationKind, Kind] = {
    OperationKind.CREATE: Kind(Needs.NOTHING, InstanceStatus.BUILD, cancellable=True, rule="instance:create"),
    OperationKind.DELETE: Kind(
        Needs.INSTANCE, InstanceStatus.SHUTDOWN, repairs=ALL, removes=True, rule="instance:delete"
    ),
    OperationKind.RESTART: Kind(
        Needs.SERVER,
        InstanceStatus.REBOOT,
        repairs=frozenset({OperationKind.RESTART}),
        cancellable=True,
        rule="instance:restart",
    ),
    OperationKind.RESIZE_FLAVOR: Kind(
        Needs.SERVER,
        InstanceStatus.RESIZE,
        repairs=frozenset({OperationKind.RESTART}),
        cancellable=True,
        resizes=True,
        rule="instance:resize_flavor",
    ),
    OperationKind.CHANGE_ACCESS: Kind(
        Needs.SERVER,
        repairs=frozenset({OperationKind.CHANGE_ACCESS}),
        cancellable=True,
        rule="instance:update",
    ),
    OperationKind.STOP: Kind(Needs.SERVER, InstanceStatus.SHUTDOWN, repairs=RUNS_AGAIN, cancellable=True),
    OperationKind.START: Kind(
        Needs.SERVER,
        InstanceStatus.REBOOT,
        repairs=RUNS_AGAIN,
        cancellable=True,
        starts=True,
        rule="instance:restart",
    ),
    OperationKind.REBOOT: Kind(Needs.SERVER, InstanceStatus.REBOOT, repairs=RUNS_AGAIN, cancellable=True),
    OperationKind.MIGRATE: Kind(
        Needs.SERVER, InstanceStatus.RESIZE, repairs=frozenset({OperationKind.RESTART}), cancellable=True
    ),
    OperationKind.RECONFIGURE: Kind(
        Needs.SERVER, repairs=frozenset({OperationKind.RECONFIGURE}), cancellable=True, rule="instance:update"
    ),
    OperationKind.RESIZE_VOLUME: Kind(
        Needs.SERVER, InstanceStatus.RESIZE, cancellable=True, resizes=True, rule="instance:resize_volume"
    ),
    OperationKind.REBUILD: Kind(
        Needs.SERVER,
        InstanceStatus.REBOOT,
        repairs=frozenset({OperationKind.RESTART}),
        cancellable=True,
        rule="instance:rebuild",
    ),
    OperationKind.UPGRADE: Kind(
        Needs.SERVER,
        InstanceStatus.UPGRADE,
        repairs=frozenset({OperationKind.RESTART}),
        cancellable=True,
        rule="instance:update",
    ),
    OperationKind.CHANGE_TLS: Kind(
        Needs.SERVER, repairs=frozenset({OperationKind.CHANGE_TLS}), cancellable=True, rule="instance:ssl"
    ),
    OperationKind.BACKUP: Kind(
        Needs.SERVER,
        InstanceStatus.BACKUP,
        cancellable=True,
        rule="backup:create",
    ),
    OperationKind.SETTLE: Kind(Needs.INSTANCE, repairs=ALL, only_repairs=True),
}


def left_by(kind: OperationKind, interrupted: OperationKind | None) -> OperationKind:
    """What has to be put right after an operation was ended from outside that had to put right another one itself."""
    return interrupted if KINDS[kind].only_repairs and interrupted is not None else kind
