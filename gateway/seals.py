"""Whether a guest speaks with its own key, and with nothing but it."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

from contract.keys.keyring import Keyring, NotOurs
from contract.names import epoch_of, guest_key_id
from contract.wire.codec import UP, opened
from gateway.guest import Guest


class NotSealed(ValueError):
    """A payload is in clear, or sealed by or for somebody else."""


MAX_PAYLOADS = 8  # of one request; an honest one has an answer or a failure's details


def check_seals(keyring: Keyring, guest: Guest, message: Message) -> None:
    """Raise NotSealed unless every payload in a message opens with the guest's own key, as the guest's own word."""
    for number, payload in enumerate(payloads_in(message)):
        if number == MAX_PAYLOADS:
            raise NotSealed(f"there are more than {MAX_PAYLOADS} payloads")
        try:
            key_id, direction, _ = opened(keyring, payload)
        except NotOurs:
            raise NotSealed("a payload is not sealed with the guest's own key") from None
        if direction != UP or key_id != guest_key_id(guest.instance_id, epoch_of(key_id) or 0):
            raise NotSealed("a payload is sealed with another key than the guest's own")
        if payload.external_payloads or len(payload.metadata) != 2:
            raise NotSealed("a payload carries more than its seal")


def payloads_in(message: Message) -> Iterator[Payload]:
    """All payloads of a message, wherever they stand; the message is known not to be deep."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for each in _messages(field, value):
                yield from payloads_in(each)


def _messages(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        yield from (each for each in value.values() if isinstance(each, Message))
    elif isinstance(value, Message):
        yield value
    else:
        yield from value
