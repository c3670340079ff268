"""Payloads and secrets: sealed for one reader, and nothing hostile raises."""

from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.converter import ActivitySerializationContext, DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from contract.domain.accounts import Sealed
from contract.domain.errors import BadRequest
from contract.domain.instance import Flavor
from contract.keys.keyring import MasterKeyring, NotOurs
from contract.keys.sealing import SecretBox
from contract.names import call_id, guest_key_id, guest_queue
from contract.wire.codec import ORIGIN, CofferPayloadConverter, ForgivingFailures, data_converter
from tests.temporal import own_keyring

MASTER = MasterKeyring.of(b"m" * 32)
GUEST = uuid4()
OTHER = uuid4()


def activity(queue: str | None = None, activity_id: str | None = None) -> ActivitySerializationContext:
    return ActivitySerializationContext(
        namespace="coffer",
        activity_id=activity_id,
        activity_type=None,
        activity_task_queue=queue,
        workflow_id=None,
        workflow_type=None,
        is_local=False,
    )


def control() -> DataConverter:
    return data_converter(MASTER)


def guest(instance: object = GUEST) -> DataConverter:
    return data_converter(own_keyring(MASTER, instance))


async def test_a_guest_reads_what_is_meant_for_it_and_nothing_else() -> None:
    context = activity(guest_queue(GUEST))
    sealed = await control().with_context(context).encode(["hello"])

    assert await guest().with_context(context).decode(sealed) == ["hello"]
    with pytest.raises(NotOurs):
        await guest(OTHER).with_context(context).decode(sealed)
    assert b"hello" not in sealed[0].SerializeToString()


async def test_a_short_call_is_sealed_for_its_guest_by_its_id() -> None:
    context = activity(activity_id=call_id(GUEST, "req-1"))
    sealed = await control().with_context(context).encode(["hello"])

    assert await guest().decode(sealed) == ["hello"]


async def test_the_control_planes_payloads_open_for_no_guest() -> None:
    sealed = await control().with_context(WorkflowSerializationContext("coffer", "group/x")).encode(["hello"])

    with pytest.raises(NotOurs):
        await guest().decode(sealed)
    assert await control().decode(sealed) == ["hello"]


async def test_the_sender_is_known_and_cannot_be_claimed() -> None:
    context = activity(guest_queue(GUEST))
    answer = await guest().with_context(context).encode(["answer"])
    codec = control().with_context(context).payload_codec
    assert codec is not None

    [opened] = await codec.decode(answer)
    assert opened.metadata[ORIGIN] == f"{guest_key_id(GUEST, 1)}/up".encode()

    forged = Payload(metadata={"encoding": b"json/plain", ORIGIN: opened.metadata[ORIGIN]}, data=b'"x"')
    [refused] = await codec.decode([forged])
    assert ORIGIN not in refused.metadata


async def test_a_guest_cannot_pass_the_control_planes_word_for_its_own() -> None:
    """An input that a guest was sent, sent back as its answer, keeps the other direction."""
    context = activity(guest_queue(GUEST))
    sent = await control().with_context(context).encode(["order"])
    codec = control().with_context(context).payload_codec
    assert codec is not None

    [opened] = await codec.decode(sent)

    assert opened.metadata[ORIGIN].endswith(b"/down")


@pytest.mark.parametrize(
    "payload",
    [
        Payload(metadata={"encoding": b"binary/encrypted"}, data=b"junk"),
        Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"\xff\xfe"}, data=b"junk"),
        Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"c:1/up"}, data=b"x" * 64),
        Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"x:1/down"}, data=b""),
        Payload(metadata={"encoding": b"json/plain"}, data=b'"in clear"'),
        Payload(metadata={"encoding": b"no/such"}, data=b"?"),
        Payload(),
    ],
)
async def test_what_does_not_open_becomes_nothing_instead_of_an_error(payload: Payload) -> None:
    assert await control().with_context(activity(guest_queue(GUEST))).decode([payload]) == [None]


async def test_an_operators_plain_json_is_understood_in_a_workflow() -> None:
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"plain"')

    assert await control().with_context(WorkflowSerializationContext("coffer", "group/x")).decode([plain]) == ["plain"]


def test_an_input_of_the_wrong_shape_is_a_refusal_that_tells_no_value() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'{"id": {"hidden": "swordfish"}}')

    with pytest.raises(BadRequest) as refused:
        CofferPayloadConverter().from_payloads([payload], [Flavor])

    assert "ram_mib" in str(refused.value)
    assert "swordfish" not in str(refused.value)


def hostile_failures() -> list[Failure]:
    broken = Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b"{broken")])
    strange = Payloads(payloads=[Payload(metadata={"encoding": b"no/such"}, data=b"?")])
    details = Failure(message="a")
    details.application_failure_info.details.CopyFrom(broken)
    timeout = Failure(message="b")
    timeout.timeout_failure_info.last_heartbeat_details.CopyFrom(strange)
    cancelled = Failure(message="c")
    cancelled.canceled_failure_info.details.CopyFrom(broken)
    below = Failure(message="d")
    below.activity_failure_info.activity_type.name = "x"
    below.cause.CopyFrom(details)
    category = Failure(message="e")
    category.application_failure_info.category = 77  # type: ignore[assignment]
    deep = Failure(message="0")
    level = deep
    for number in range(60):
        level.application_failure_info.type = "Deep"
        level.cause.message = str(number)
        level = level.cause
    return [details, timeout, cancelled, below, category, deep]


@pytest.mark.parametrize("failure", hostile_failures(), ids=lambda failure: str(failure.message))
def test_a_hostile_failure_is_an_exception_and_not_an_error(failure: Failure) -> None:
    error = ForgivingFailures().from_failure(failure, CofferPayloadConverter())

    depth, cause = 0, error
    while cause is not None:
        depth, cause = depth + 1, cause.__cause__  # type: ignore[assignment]
    assert depth <= 9


async def test_a_failures_message_and_stack_are_sealed() -> None:
    failure = Failure()
    converter = control()
    await converter.encode_failure(ApplicationError("the swordfish"), failure)

    assert b"swordfish" not in failure.SerializeToString()
    assert "swordfish" in str(await converter.decode_failure(failure))


def test_a_secret_opens_for_its_guest_alone() -> None:
    sealed = SecretBox(MASTER, GUEST).seal("swordfish")

    assert SecretBox(own_keyring(MASTER, GUEST), GUEST).open(sealed) == "swordfish"
    assert "swordfish" not in repr(sealed)
    with pytest.raises(NotOurs):
        SecretBox(MASTER, OTHER).open(sealed)
    with pytest.raises(NotOurs):
        SecretBox(own_keyring(MASTER, OTHER), GUEST).open(sealed)
    with pytest.raises(NotOurs):
        SecretBox(MASTER, GUEST).open(Sealed(sealed="not base64"))
