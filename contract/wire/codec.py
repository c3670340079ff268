"""The encrypting codec and the converters: every payload is sealed, and nothing a guest sends can raise here."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Self

from google.protobuf.message import DecodeError
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
)

from contract.domain.errors import BadRequest, GuestProtocolError
from contract.keys.keyring import Keyring, NotOurs, OwnKeyring
from contract.names import control_key_id, guest_key_id, guest_of, guest_of_key

ENCODING = b"binary/encrypted"
ORIGIN = "coffer-origin"  # in a decoded payload: key id and direction, as the codec has verified them
UNDECODABLE = "coffer-undecodable"
IN_CLEAR = "coffer-clear"  # in a payload that is not to be sealed, see ClearText
DOWN = "down"  # from the control plane
UP = "up"  # from a guest
MAX_FAILURE_DEPTH = 8


class SealingCodec(PayloadCodec, WithSerializationContext):
    """Seals each payload with the key of the guest it is for or from, else with the control plane's.

    Encoding chooses by the task queue (or a short call's id); decoding believes the key id in the metadata, which the
    seal covers together with the direction. What does not open becomes a marker that every converter decodes.
    Clear payloads pass in a workflow's context alone: operators may start runs with plain JSON, guests may not talk so.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._own = keyring.instance_id if isinstance(keyring, OwnKeyring) else None
        self._direction = UP if self._own else DOWN
        self._guest: str | None = None

    def with_context(self, context: SerializationContext) -> Self:
        """Return a codec that knows which guest a payload is for, if any."""
        copy = type(self)(self._keyring)
        if isinstance(context, ActivitySerializationContext):
            copy._guest = guest_of(queue=context.activity_task_queue, activity_id=context.activity_id)
        return copy

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal payloads; they grow by some 100 bytes each."""
        guest, epoch = self._own or self._guest, self._keyring.current
        key_id = guest_key_id(guest, epoch) if guest else control_key_id(epoch)
        return [each if self._is_clear_text(each) else self._seal(each, key_id) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open payloads. The control plane's side never raises; a guest does, so that the task is tried again."""
        if self._own:  # a guest may have to ask for its key of a new epoch
            return await asyncio.to_thread(lambda: [self._open(payload) for payload in payloads])
        return [self._open(payload) for payload in payloads]

    def _is_clear_text(self, payload: Payload) -> bool:
        return self._own is None and payload.metadata.get(IN_CLEAR) == b"1"

    def _seal(self, payload: Payload, key_id: str) -> Payload:
        purpose = f"{key_id}/{self._direction}"
        plain = Payload()
        plain.CopyFrom(payload)
        plain.metadata.pop(ORIGIN, None)
        data = self._keyring.encrypt(key_id, plain.SerializeToString(), purpose.encode())
        return Payload(metadata={"encoding": ENCODING, "encryption-key-id": purpose.encode()}, data=data)

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return self._clear(payload)
        try:
            key_id, direction, inner = opened(self._keyring, payload)
        except NotOurs:
            if self._own:  # the key of a new epoch could not be fetched yet
                raise
            return _marker()
        inner.metadata[ORIGIN] = f"{key_id}/{direction}".encode()
        return inner

    def _clear(self, payload: Payload) -> Payload:
        if self._own is not None:
            raise NotOurs("nobody speaks to a guest in clear")
        if self._guest is not None:
            return _marker()
        clear = Payload()
        clear.CopyFrom(payload)
        clear.metadata.pop(ORIGIN, None)
        return clear


def opened(keyring: Keyring, payload: Payload) -> tuple[str, str, Payload]:
    """Return key id, direction and content of a sealed payload, as its seal proves them; NotOurs for anything else."""
    try:
        purpose = payload.metadata["encryption-key-id"].decode()
        key_id, _, direction = purpose.rpartition("/")
        inner = Payload.FromString(keyring.decrypt(key_id, payload.data, purpose.encode()))
    except (DecodeError, UnicodeDecodeError, KeyError):
        raise NotOurs("this is no sealed payload") from None
    known = payload.metadata.get("encoding") == ENCODING and direction in (UP, DOWN)
    if not known or (direction == UP and guest_of_key(key_id) is None):
        raise NotOurs("this is no sealed payload")
    return key_id, direction, inner


def _marker() -> Payload:
    return Payload(metadata={"encoding": b"json/plain", UNDECODABLE: b"1"}, data=b"null")


class ForgivingFailures(DefaultFailureConverterWithEncodedAttributes):
    """Failures with message and stack sealed; a hostile failure loses what does not decode, and never raises."""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Return the exception that a failure stands for, at most eight causes deep."""
        tame = Failure()
        tame.CopyFrom(failure)
        _tame(tame, payload_converter)
        try:
            return super().from_failure(tame, payload_converter)
        except Exception:  # noqa: BLE001 - whatever a guest may have written, the run must be told something
            return GuestProtocolError("a failure could not be decoded")


_DETAILS = {
    "application_failure_info": "details",
    "timeout_failure_info": "last_heartbeat_details",
    "canceled_failure_info": "details",
    "reset_workflow_failure_info": "last_heartbeat_details",
}


def _tame(failure: Failure, converter: PayloadConverter) -> None:
    """Cut causes beyond the depth, and drop details that do not decode, at every level."""
    level = failure
    for _ in range(MAX_FAILURE_DEPTH):
        kind = level.WhichOneof("failure_info") or ""
        name = _DETAILS.get(kind)
        if name is not None:
            holder: Any = getattr(level, kind)
            if not _decodes(getattr(holder, name), converter):
                holder.ClearField(name)
        if not level.HasField("cause"):
            return
        level = level.cause
    level.ClearField("cause")


def _decodes(details: Payloads, converter: PayloadConverter) -> bool:
    try:
        converter.from_payloads_wrapper(details)
    except Exception:  # noqa: BLE001 - see ForgivingFailures
        return False
    return True


class _PydanticJson(PydanticJSONPlainPayloadConverter):
    """Pydantic's JSON; a value of the wrong shape is a refusal that ends the run, not a task that is retried for ever."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as error:
            raise BadRequest(f"the input is not valid: {_sentence(error)}") from None
        except (ValueError, RecursionError):
            raise BadRequest("the input is not valid JSON") from None


class _ClearTexts(EncodingPayloadConverter):
    """Writes `ClearText` as JSON that the codec leaves as it is; reading it is left to the converter of JSON."""

    @property
    def encoding(self) -> str:
        return "coffer/clear"  # never written

    def to_payload(self, value: Any) -> Payload | None:
        if not (isinstance(value, str) and getattr(value, "in_clear", False)):
            return None
        return Payload(metadata={"encoding": b"json/plain", IN_CLEAR: b"1"}, data=json.dumps(value).encode())

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise NotImplementedError


def _sentence(error: ValidationError) -> str:
    """Say which fields are wrong, without their values: they may be secrets."""
    wrong = [f"{'.'.join(str(part) for part in each['loc']) or 'value'}: {each['msg']}" for each in error.errors()]
    return "; ".join(wrong)


class CofferPayloadConverter(CompositePayloadConverter):
    """The SDK's converters with pydantic's JSON in the place of plain JSON."""

    def __init__(self) -> None:
        """Put our JSON converter where the default one stands."""
        super().__init__(
            _ClearTexts(),
            *(
                _PydanticJson() if isinstance(each, JSONPlainPayloadConverter) else each
                for each in DefaultPayloadConverter.default_encoding_payload_converters
            ),
        )


def data_converter(keyring: Keyring) -> DataConverter:
    """The converter of every process: with a guest's own keyring it seals with that key, and opens nothing else."""
    return DataConverter(
        payload_converter_class=CofferPayloadConverter,
        failure_converter_class=ForgivingFailures,
        payload_codec=SealingCodec(keyring),
    )
