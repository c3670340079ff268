"""Task tokens open for the guest that they were wrapped for, and for nobody else."""

from uuid import UUID, uuid4

import grpc
import pytest

from contract.keys.keyring import MasterKeyring, Ring
from gateway.denied import Denied
from gateway.guest import Guest
from gateway.tokens import HEAD, MAC_BYTES, MAX_BYTES, TaskTokens

GUEST = Guest(UUID("3f2c5a52-95e0-4a54-8f4a-1f6f3a0c1a11"), 1)
OTHER = Guest(uuid4(), 1)
YOUNGER = Guest(GUEST.instance_id, 2)
TOKEN = b"a task token of Temporal's"
TOKENS = TaskTokens(MasterKeyring.of(b"m" * 32).branch())
WRAPPED = TOKENS.wrap(GUEST, TOKEN)


def test_a_token_comes_back_as_it_was() -> None:
    assert TOKENS.unwrap(GUEST, WRAPPED) == TOKEN


def test_every_gateway_of_the_same_keys_opens_it() -> None:
    assert TaskTokens(MasterKeyring.of(b"m" * 32).branch()).unwrap(GUEST, WRAPPED) == TOKEN


@pytest.mark.parametrize("guest", [OTHER, YOUNGER], ids=["another guest", "another generation"])
def test_it_opens_for_nobody_else(guest: Guest) -> None:
    _denied(guest, WRAPPED)


@pytest.mark.parametrize(
    "wrapped",
    [b"", TOKEN, WRAPPED[: HEAD.size + MAC_BYTES], WRAPPED[:-1], WRAPPED + b"x", b"\2" + WRAPPED[1:],
     HEAD.pack(1, 2) + WRAPPED[HEAD.size:], HEAD.pack(1, 2**32 - 1) + WRAPPED[HEAD.size:], b"\1" * 200,
     WRAPPED + bytes(MAX_BYTES)],
)  # fmt: skip
def test_what_was_not_wrapped_is_denied(wrapped: bytes) -> None:
    _denied(GUEST, wrapped)


@pytest.mark.parametrize("place", range(len(WRAPPED)))
def test_a_single_bit_makes_it_another(place: int) -> None:
    _denied(GUEST, WRAPPED[:place] + bytes([WRAPPED[place] ^ 1]) + WRAPPED[place + 1 :])


def test_tokens_of_an_older_epoch_open_while_its_key_is_kept() -> None:
    both = TaskTokens(MasterKeyring(lambda needed=None: Ring({1: b"m" * 32, 2: b"n" * 32}, 2)).branch())
    assert both.unwrap(GUEST, WRAPPED) == TOKEN
    assert both.wrap(GUEST, TOKEN)[: HEAD.size] == HEAD.pack(1, 2)
    newer = TaskTokens(MasterKeyring(lambda needed=None: Ring({2: b"n" * 32}, 2)).branch())
    with pytest.raises(Denied):
        newer.unwrap(GUEST, WRAPPED)


def _denied(guest: Guest, wrapped: bytes) -> None:
    with pytest.raises(Denied) as denied:
        TOKENS.unwrap(guest, wrapped)
    assert denied.value.code is grpc.StatusCode.PERMISSION_DENIED
