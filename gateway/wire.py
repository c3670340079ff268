"""Looking at protobuf on the wire, before anything decodes it: only lengths are believed, and nothing recurses.

https://protobuf.dev/programming-guides/encoding/ has the format. A failure that nests 95 causes, a kilobyte, stops a
control-plane worker that decodes it; so nobody does.
"""

from collections.abc import Iterator

MAX_FIELDS = 1024  # of all levels that are looked at; an honest answer has some twenty
MAX_DEPTH = 8  # causes below a failure; the converter of the control plane believes as many
CAUSE = 4  # field of temporal.api.failure.v1.Failure
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4, groups, are of the past, and nest


class Garbage(ValueError):
    """The bytes are no message."""


class TooDeep(ValueError):
    """A failure has more causes than anybody believes."""


class Count:
    """How many fields of one request may still be looked at, on all its levels together."""

    def __init__(self, left: int = MAX_FIELDS) -> None:
        self._left = left

    def one(self) -> None:
        """Count a field; Garbage when there were too many."""
        self._left -= 1
        if self._left < 0:
            raise Garbage("too many fields")


def fields(message: memoryview, count: Count) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each length-delimited field of one level; Garbage when it cannot be a message."""
    place = 0
    while place < len(message):
        count.one()
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise Garbage("a field without a number")
        if kind == BYTES:
            length, place = _varint(message, place)
            end = place + length
        else:
            end = _end_of_number(message, place, kind)
        if end > len(message):
            raise Garbage("a field longer than the message")
        if kind == BYTES:
            yield number, message[place:end]
        place = end


def _end_of_number(message: memoryview, place: int, kind: int) -> int:
    if kind == VARINT:
        return _varint(message, place)[1]
    if kind in (FIXED64, FIXED32):
        return place + (8 if kind == FIXED64 else 4)
    raise Garbage(f"a field of wire type {kind}")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place == len(message):
            raise Garbage("a number that does not end")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise Garbage("a number of more than ten bytes")


def check_depth(failure: memoryview, count: Count) -> None:
    """Raise TooDeep when a failure has more than eight causes one below the other. A repeated cause is merged by decoders."""
    level, depth = [failure], 0
    while level:
        if depth > MAX_DEPTH:
            raise TooDeep(f"more than {MAX_DEPTH} causes")
        level = [content for each in level for number, content in fields(each, count) if number == CAUSE]
        depth += 1
