"""Taking a guest's answer: raw, checked for its sender and size, and only then decoded."""

from typing import TypeVar
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from temporalio.common import RawValue

from contract.domain.errors import GuestProtocolError
from contract.names import guest_of_key

MAX_BYTES = 65_536
ORIGIN = "coffer-origin"

Answer = TypeVar("Answer")


def from_guest(raw: RawValue | None, instance_id: UUID, shape: type[Answer]) -> Answer:
    """Decode what a guest returned; GuestProtocolError when it is not its own, too large, or of another shape.

    None is what the SDK makes of an answer without any payload: an honest guest seals its "nothing", too.
    """
    if raw is None:
        raise GuestProtocolError(f"the answer of instance {instance_id} has no content")
    payload = raw.payload
    if shape is type(None) and payload.metadata.get("encoding") in (b"binary/null", None):
        return None
    key_id, _, direction = payload.metadata.get(ORIGIN, b"").decode(errors="replace").rpartition("/")
    if direction != "up" or guest_of_key(key_id) != str(instance_id):
        raise GuestProtocolError(f"the answer of instance {instance_id} is not sealed by its guest")
    if len(payload.data) > MAX_BYTES:
        raise GuestProtocolError(f"the answer of instance {instance_id} is larger than {MAX_BYTES} bytes")
    if shape is type(None):
        return None
    try:
        return TypeAdapter(shape).validate_json(payload.data)
    except (ValidationError, ValueError, RecursionError):
        raise GuestProtocolError(f"the answer of instance {instance_id} is not a {shape.__name__}") from None
