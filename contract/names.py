"""Queue names and workflow ids: the id of a run is the lock of what it touches."""

from uuid import UUID

RUNBOOKS = "runbooks"  # the workflow worker
CLOUD = "cloud"  # the activity worker, OpenStack's side
RECORDS = "records"  # the activity worker, the records' side

_GUEST = "guest/"
_CALL = "call/"


def guest_queue(instance_id: UUID) -> str:
    """The one queue that the instance's guest polls."""
    return f"{_GUEST}{instance_id}"


def lock_id(group_id: UUID) -> str:
    """Workflow id of every operation on a group: two of them never run at once."""
    return f"group/{group_id}"


def waiting_id(operation_id: UUID) -> str:
    """Workflow id of an order that waits for the lock of its group."""
    return f"waiting/{operation_id}"


def watch_id(instance_id: UUID) -> str:
    """Workflow id of an instance's watch."""
    return f"watch/{instance_id}"


def root_id(instance_id: UUID, request_id: str) -> str:
    """Workflow id of one change of an instance's root account."""
    return f"root/{instance_id}/{request_id}"


def sweep_id(verb: str) -> str:
    """Schedule id, and the beginning of the workflow ids, of a sweep."""
    return f"sweep/{verb}"


def call_id(instance_id: UUID, request_id: str) -> str:
    """Activity id of a short call; the codec reads the guest from it where Temporal tells no queue."""
    return f"{_CALL}{instance_id}/{request_id}"


def guest_of(*, queue: str | None = None, activity_id: str | None = None) -> str | None:
    """Return the id of the guest that a queue or a short call's id names, or None."""
    if queue and queue.startswith(_GUEST):
        return queue.removeprefix(_GUEST)
    if activity_id and activity_id.startswith(_CALL):
        return activity_id.removeprefix(_CALL).split("/", 1)[0]
    return None


def control_key_id(epoch: int) -> str:
    """Name of the control plane's payload key of an epoch."""
    return f"c:{epoch}"


def guest_key_id(instance_id: UUID | str, epoch: int) -> str:
    """Name of the key that one guest and the control plane share in an epoch."""
    return f"i:{instance_id}:{epoch}"


def epoch_of(key_id: str) -> int | None:
    """Return the epoch that a key id ends in, or None where it is none."""
    text = key_id.rpartition(":")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def guest_of_key(key_id: str) -> str | None:
    """Return the id of the guest that a key id names, or None: a key of the control plane, or nonsense."""
    kind, _, rest = key_id.partition(":")
    return rest.rpartition(":")[0] if kind == "i" and epoch_of(key_id) is not None else None
