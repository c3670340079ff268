"""Reading protobuf off the wire agrees with the library, and never recurses."""

import random

import pytest
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure

from gateway.wire import MAX_DEPTH, MAX_FIELDS, Count, Garbage, TooDeep, check_depth, fields
from tests.redteam.raw_requests import causes, piece, varint


def read(message: bytes) -> list[tuple[int, bytes]]:
    return [(number, bytes(content)) for number, content in fields(memoryview(message), Count())]


def test_only_fields_of_bytes_are_told() -> None:
    info = ApplicationFailureInfo(type="T", non_retryable=True)
    assert read(info.SerializeToString()) == [(1, b"T")]


def test_numbers_of_all_kinds_are_stepped_over() -> None:
    message = piece(1, varint(2**63), 0) + piece(2, bytes(8), 1) + piece(3, bytes(4), 5) + piece(2**29 - 1, b"end")
    assert read(message) == [(2**29 - 1, b"end")]


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",  # a length that is not there
        b"\x0a\x05abc",  # longer than the message
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # longer than anything
        b"\x08",  # a number that is not there
        b"\x08" + b"\xff" * 11,  # a number without an end
        b"\x09\x00",  # eight bytes, of which one is there
        b"\x0d\x00\x00",  # four
        b"\x0b\x0c",  # a group
        b"\x0e",  # wire types that are none
        b"\x0f",
        b"\x02\x00",  # a field of number zero
        b"\x08\x00" * (MAX_FIELDS + 1),
    ],
)
def test_what_cannot_be_a_message_is_garbage(message: bytes) -> None:
    with pytest.raises(Garbage):
        read(message)


def test_no_bytes_at_all_make_anything_but_garbage_or_fields() -> None:
    chance = random.Random(4)
    for _ in range(3000):
        message = chance.randbytes(chance.randrange(40))
        try:
            assert all(len(content) < len(message) for _, content in read(message))
        except Garbage:
            continue


def test_what_is_cut_short_is_garbage_or_less() -> None:
    info = ApplicationFailureInfo(type="T")
    whole = Failure(message="m" * 200, source="s", application_failure_info=info).SerializeToString()
    for end in range(len(whole)):
        try:
            assert len(read(whole[:end])) < len(read(whole))
        except Garbage:
            continue


@pytest.mark.parametrize("depth", range(MAX_DEPTH + 1))
def test_so_many_causes_are_believed(depth: int) -> None:
    check_depth(memoryview(causes(depth)), Count())


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 94, 95, 96, 150, 10_000, 100_000])
def test_more_causes_are_not_believed(depth: int) -> None:
    with pytest.raises(TooDeep):
        check_depth(memoryview(causes(depth)), Count())


@pytest.mark.parametrize(("first", "second"), [(1, 12), (12, 1), (5, 12)])
def test_the_deepest_of_repeated_causes_counts(first: int, second: int) -> None:
    with pytest.raises(TooDeep):
        check_depth(memoryview(causes(first) + causes(second)), Count())


def test_causes_that_are_merged_are_no_deeper_than_the_deepest() -> None:
    message = causes(8) + causes(8)
    check_depth(memoryview(message), Count())
    failure, depth = Failure.FromString(message), 0
    while failure.HasField("cause"):
        failure, depth = failure.cause, depth + 1
    assert depth == 8


def flat(levels: int, each: int) -> bytes:
    """So many empty causes beside each other at each level; a whole message."""
    message = b""
    for _ in range(levels):
        message = piece(4, message) + piece(4, b"") * (each - 1)
    return message


@pytest.mark.parametrize(("levels", "each"), [(1, MAX_FIELDS), (8, MAX_FIELDS // 8), (4, MAX_FIELDS // 4)])
def test_so_many_fields_are_looked_at_on_all_levels_together(levels: int, each: int) -> None:
    check_depth(memoryview(flat(levels, each)), Count())
    with pytest.raises(Garbage, match="too many"):
        check_depth(memoryview(flat(levels, each + 1)), Count())


@pytest.mark.parametrize(("levels", "each"), [(1, 34_000), (8, 2_500), (8, 4_200), (3, 10_000)])
def test_no_more_fields_are_read_than_are_counted(levels: int, each: int) -> None:
    """Work is bounded by the budget, whatever the size: of a large message no more is read than of a small one."""
    read = 0

    class Watching(Count):
        def one(self) -> None:
            nonlocal read
            read += 1
            super().one()

    with pytest.raises(Garbage):
        check_depth(memoryview(flat(levels, each)), Watching())
    assert read == MAX_FIELDS + 1


def test_one_budget_is_for_all_that_is_read_of_a_request() -> None:
    count, half = Count(), memoryview(flat(1, MAX_FIELDS // 2))
    for _ in range(2):
        list(fields(half, count))
    with pytest.raises(Garbage, match="too many"):
        list(fields(half, count))
