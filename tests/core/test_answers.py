"""What a guest says, before anybody believes it or writes it down."""

import json
from uuid import uuid4

import pytest
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from contract.domain.errors import GuestProtocolError
from contract.ports.guest import DatabaseList, Health
from contract.wire.answers import ORIGIN, from_guest
from workflows.steps import MAX_REASON, sentence

INSTANCE = uuid4()


def said(text: bytes, key_id: str = f"i:{INSTANCE}:1") -> RawValue:
    """An answer as the codec hands it on."""
    return RawValue(Payload(metadata={"encoding": b"json/plain", ORIGIN: f"{key_id}/up".encode()}, data=text))


def test_an_answer_of_the_guests_own_is_believed() -> None:
    assert from_guest(said(b'{"databases": ["app"]}'), INSTANCE, DatabaseList).databases == ("app",)


@pytest.mark.parametrize("shape", [DatabaseList, type(None)])
def test_an_answer_without_content_is_nonsense(shape: type) -> None:
    """Of an answer without a payload the SDK makes None, in a workflow, too."""
    with pytest.raises(GuestProtocolError):
        from_guest(None, INSTANCE, shape)


@pytest.mark.parametrize("key_id", ["i:0d9c8b7a-6f5e-4d3c-8b2a-1f0e9d8c7b6a:1", "c:1", ""])
def test_anothers_answer_is_nonsense(key_id: str) -> None:
    with pytest.raises(GuestProtocolError):
        from_guest(said(b"{}", key_id), INSTANCE, DatabaseList)


@pytest.mark.parametrize(
    "more",
    [
        {"volume_used_bytes": 10**30},
        {"volume_total_bytes": -1},
        {"guest_version": "1\0"},
        {"guest_version": "v" * 201},
    ],
)
def test_health_is_what_the_records_can_hold(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Health.model_validate_json(json.dumps({"operating_status": "HEALTHY", **more}))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("it failed", "it failed"),
        ("a\0b\nc\x1bd", "a b c d"),
        ("é 中 “x”", "é 中 “x”"),
        ("m" * 65_000, "m" * MAX_REASON + "…"),
    ],
)
def test_a_reason_is_what_the_records_can_hold(text: str, wanted: str) -> None:
    assert sentence(ApplicationError(text)) == wanted
