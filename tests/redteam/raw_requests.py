"""What a stolen guest says: requests as no SDK would send them, written by hand where no library would write them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)

from contract.keys.keyring import OwnKeyring
from contract.names import guest_key_id
from contract.wire.codec import ENCODING

Task = PollActivityTaskQueueResponse
COMPLETED, FAILED = "RespondActivityTaskCompleted", "RespondActivityTaskFailed"
CANCELED, HEARTBEAT = "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat"


class Holder(Protocol):
    """Whoever has a guest's keys."""

    @property
    def instance_id(self) -> UUID:
        """Whose keys."""

    @property
    def keyring(self) -> OwnKeyring:
        """The keys."""


@dataclass(frozen=True)
class RawRequest:
    """What the attacker says of a task: a method, and the bytes of its request."""

    rpc: str
    body: bytes


# -- requests ----------------------------------------------------------------------------------------------------------


def completed(task: Task, result: Payloads | None = None) -> RawRequest:
    """An answer."""
    request = RespondActivityTaskCompletedRequest(task_token=task.task_token, result=result, namespace="coffer")
    return RawRequest(COMPLETED, request.SerializeToString())


def failed(task: Task, failure: Failure | bytes, details: Payloads | None = None) -> RawRequest:
    """A failure; as bytes where no library would write it."""
    request = RespondActivityTaskFailedRequest(task_token=task.task_token, last_heartbeat_details=details)
    raw = failure if isinstance(failure, bytes) else failure.SerializeToString()
    return RawRequest(FAILED, request.SerializeToString() + piece(2, raw))


def heartbeat(task: Task, details: Payloads | None) -> RawRequest:
    """A heartbeat."""
    request = RecordActivityTaskHeartbeatRequest(task_token=task.task_token, details=details, namespace="coffer")
    return RawRequest(HEARTBEAT, request.SerializeToString())


def canceled(task: Task, details: Payloads | None) -> RawRequest:
    """The word that a cancel was obeyed."""
    request = RespondActivityTaskCanceledRequest(task_token=task.task_token, details=details, namespace="coffer")
    return RawRequest(CANCELED, request.SerializeToString())


def application(kind: str, **more: Any) -> Failure:
    """A failure in clear, without payloads, as an SDK sends it."""
    info = ApplicationFailureInfo(type=kind, **{"non_retryable": True, **more})
    return Failure(message=f"{kind} of the attacker", application_failure_info=info)


# -- protobuf by hand --------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """A number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def piece(number: int, content: bytes, kind: int = 2) -> bytes:
    """A field: of bytes, with their length; of other kinds, as it stands."""
    return varint(number << 3 | kind) + (varint(len(content)) if kind == 2 else b"") + content


def causes(depth: int, bottom: bytes = b"") -> bytes:
    """The content of a failure with so many causes one below the other, made from the inside out."""
    heads: list[bytes] = []
    length = len(bottom)
    for _ in range(depth):
        heads.append(varint(4 << 3 | 2) + varint(length))
        length += len(heads[-1])
    return b"".join([*reversed(heads), bottom])


def groups(depth: int) -> bytes:
    """Unknown groups, one in the other."""
    return piece(900, b"", 3) * depth + piece(900, b"", 4) * depth


# -- seals -------------------------------------------------------------------------------------------------------------


def seal(attacker: Holder, inner: Payload, *, named: str | None = None, direction: str = "up") -> Payload:
    """A payload sealed with the stolen key, under any name and direction."""
    own = guest_key_id(attacker.instance_id, attacker.keyring.current)
    purpose = f"{named or own}/{direction}".encode()
    data = attacker.keyring.encrypt(own, inner.SerializeToString(), purpose)
    return Payload(metadata={"encoding": ENCODING, "encryption-key-id": purpose}, data=data)


def json(text: bytes) -> Payload:
    """JSON in clear, for what is to be sealed."""
    return Payload(metadata={"encoding": b"json/plain"}, data=text)


def sealed_json(attacker: Holder, text: bytes) -> Payloads:
    """JSON as the stolen guest would send it, whatever it is."""
    return Payloads(payloads=[seal(attacker, json(text))])


def many(payloads: Iterable[Payload]) -> Payloads:
    """Several in one answer."""
    return Payloads(payloads=payloads)


def costly(holder: Holder, task: Task) -> dict[str, RawRequest]:
    """Words about a task that are large, or of many parts: what costs most to look at."""
    sealed = many([seal(holder, json(b'"x"'))] * 440)
    top, token = application("EngineFailed").SerializeToString(), piece(1, task.task_token)
    nested = piece(77, b"") * 20_000
    for _ in range(5):
        nested = piece(4, nested)
    clear = Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b"x" * 65_000)])
    health = b'{"operating_status": "HEALTHY", "reason": "' + b"x" * 60_000 + b'"}'
    return {
        "sealed heartbeats of 60 kB": heartbeat(task, sealed_json(holder, health)),  # the only one that is passed on
        "sealed details": failed(task, application("EngineFailed", details=sealed)),
        "sealed details of a cancel": canceled(task, sealed),
        "a sealed answer of 64 kB": completed(task, sealed_json(holder, b'"' + b"x" * 65_000 + b'"')),
        "fields below causes": RawRequest(FAILED, token + piece(2, top + nested)),
        "causes side by side": RawRequest(FAILED, token + piece(2, top + piece(4, b"") * 30_000)),
        "fields without a token": RawRequest(COMPLETED, piece(900, b"") * 4000),
        "numbers behind a token": RawRequest(COMPLETED, token + b"\x38\x01" * 30_000),
        "2 MB without a token": RawRequest(COMPLETED, bytes(2_000_000)),
        "heartbeats of 64 kB": heartbeat(task, clear),
        "heartbeats of a worker": RawRequest("RecordWorkerHeartbeat", piece(3, b"") * 5000),
    }
