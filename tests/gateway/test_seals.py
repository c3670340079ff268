"""A message passes when each payload in it, wherever it stands, is sealed by the guest itself."""

from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import RespondActivityTaskCompletedRequest, RespondActivityTaskFailedRequest

from contract.keys.keyring import MasterKeyring
from contract.names import control_key_id, guest_key_id
from contract.wire.codec import ENCODING
from gateway.guest import Guest
from gateway.seals import NotSealed, check_seals, payloads_in

GUEST, OTHER = Guest(uuid4(), 1), Guest(uuid4(), 1)
MASTER = MasterKeyring.of(b"m" * 32)
BRANCH = MASTER.branch()
OWN = guest_key_id(GUEST.instance_id, 1)
INNER = Payload(metadata={"encoding": b"json/plain"}, data=b"1")


def sealed(key_id: str = OWN, direction: str = "up", said: str | None = None) -> Payload:
    """A payload sealed with a key, under its name or another."""
    purpose = f"{said or key_id}/{direction}".encode()
    data = MASTER.encrypt(key_id, INNER.SerializeToString(), purpose)
    return Payload(metadata={"encoding": ENCODING, "encryption-key-id": purpose}, data=data)


def answer(*payloads: Payload) -> RespondActivityTaskCompletedRequest:
    """An answer of these."""
    return RespondActivityTaskCompletedRequest(result=Payloads(payloads=payloads))


def test_its_own_seal_passes() -> None:
    check_seals(BRANCH, GUEST, answer(sealed(), sealed()))


def test_a_message_without_payloads_passes() -> None:
    check_seals(BRANCH, GUEST, RespondActivityTaskFailedRequest(failure=Failure(message="Worker shutting down")))


def with_more(payload: Payload, **metadata: bytes) -> Payload:
    """A payload that says more than its seal."""
    payload.metadata.update(metadata)
    return payload


def with_elsewhere() -> Payload:
    """A payload that points elsewhere."""
    payload = sealed()
    payload.external_payloads.add(size_bytes=1)
    return payload


@pytest.mark.parametrize(
    "payload",
    [
        INNER,
        Payload(),
        sealed(control_key_id(1), "down"),
        sealed(OWN, said=control_key_id(1)),
        sealed(OWN, "down"),
        sealed(OWN, "sideways"),
        sealed(OWN, ""),
        sealed(guest_key_id(OTHER.instance_id, 1)),
        sealed(OWN, said=guest_key_id(OTHER.instance_id, 1)),
        sealed(OWN, said=guest_key_id(GUEST.instance_id, 2)),
        sealed(OWN, said=f"i:{GUEST.instance_id}:01"),
        sealed(OWN, said=f"g:{GUEST.instance_id}:1"),
        with_more(sealed(), more=b"1"),
        with_more(sealed(), encoding=b"json/plain"),
        with_elsewhere(),
        Payload(metadata=sealed().metadata, data=b"short"),
        Payload(metadata={"encoding": ENCODING, "encryption-key-id": b"\xff\xfe"}, data=b"x" * 50),
    ],
)
def test_anything_else_does_not(payload: Payload) -> None:
    with pytest.raises(NotSealed):
        check_seals(BRANCH, GUEST, answer(sealed(), payload))


def test_payloads_are_found_wherever_they_stand() -> None:
    failure = Failure(encoded_attributes=sealed())
    failure.cause.application_failure_info.details.payloads.append(INNER)
    request = RespondActivityTaskFailedRequest(failure=failure, last_heartbeat_details=Payloads(payloads=[INNER]))
    assert len(list(payloads_in(request))) == 3
    with pytest.raises(NotSealed):
        check_seals(BRANCH, GUEST, request)
