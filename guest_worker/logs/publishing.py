"""Publishing a log: what is new of it becomes objects of whole lines, one after another, as far as time allows."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract.domain.errors import TicketRefused, Unavailable
from contract.ports.logs import LogPublication, LogReport
from guest_worker.logs.book import LogBook, LogState, Place, PlannedObject
from guest_worker.logs.files import MIB, LogFile, Part, reading
from guest_worker.objects import ObjectStore

CHUNK = MIB  # bytes of the log in one object, at most
MOST = 32 * MIB  # bytes of one publication
HEAD = 1024  # bytes that a file is told by
Place_ = tuple[Part, int]


@dataclass(frozen=True)
class Log:
    """A log as it is published: its file, what is remembered of it, and what of its lines a tenant gets."""

    name: str
    kind: str
    path: Path
    book: LogBook
    shown: Callable[[bytes], bytes]

    @property
    def state(self) -> LogState:
        """What is remembered."""
        return self.book.of(self.name)

    def report(self, *, always: bool) -> LogReport:
        """Tell of it; `always`: it cannot be switched off."""
        state = self.state
        left, lost = self._left(state.place)
        return LogReport(
            name=self.name,
            enabled=always or state.enabled,
            there=any(part.size for part, _ in left),
            published=state.published,
            pending=sum(part.size - offset for part, offset in left),
            lost=lost and state.published > 0,
        )

    def forget(self, call: str) -> None:
        """Nothing of it is published any more; a call that comes again, after it has published something, forgets nothing."""
        if self.state.forgotten != call:
            self._note(published=0, place=None, planned=None, forgotten=call)

    def publish(self, store: ObjectStore, order: LogPublication, until: float) -> None:
        """Store what is new, and the object that describes the others; Unavailable where the store fails."""
        try:
            self._publish(store, order, until)
        except TicketRefused as error:
            raise Unavailable(f"The log could not be published: {error.message}.") from error
        except OSError as error:
            raise Unavailable(f"The log could not be published: {error}. What was stored stays.") from error

    def _publish(self, store: ObjectStore, order: LogPublication, until: float) -> None:
        left, _ = self._left(self.state.place)
        last, moved = left[-1][0] if left else None, 0
        for part, offset in left:
            whole = part is not last  # nothing is written to it any more
            while moved < MOST and time.monotonic() < until:
                planned = self._next(part, offset, whole=whole)
                if planned is None:
                    break
                self._store(store, order, part, planned)
                moved += planned.end - offset
                offset = planned.end
            if offset < part.size and whole:
                break
        store.put(f"{order.folder}_metafile", self._described(), {"X-Delete-After": str(order.seconds)})

    def _left(self, place: Place | None) -> tuple[list[Place_], bool]:
        """What is not published yet: parts and from where; and whether something was overwritten before it was."""
        parts = LogFile(self.path).parts()
        if place is None:
            return [(part, 0) for part in parts], False
        rest = [part for part in parts if part.number >= place.number]
        if rest and rest[0].number == place.number and _begins_so(rest[0], place):
            return [(part, place.offset if part is rest[0] else 0) for part in rest], False
        return [(part, 0) for part in rest or parts], True

    def _next(self, part: Part, offset: int, *, whole: bool) -> PlannedObject | None:
        """The next lines as an object, and remember it before it is stored."""
        planned = self.state.planned
        if (
            planned is not None
            and (planned.number, planned.start) == (part.number, offset)
            and planned.end <= part.size
        ):
            return planned
        data = _read(part, offset, min(offset + CHUNK, part.size))
        end = data.rfind(b"\n") + 1
        if end == 0 and (whole or len(data) == CHUNK):
            end = len(data)  # a line that is longer than an object, or that will never end
        if end == 0 or self._is_rotated(part):
            return None
        name = f"log-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}"
        planned = PlannedObject(name=name, number=part.number, start=offset, end=offset + end)
        self._note(planned=planned)
        return planned

    def _is_rotated(self, part: Part) -> bool:
        """Whether the file that was read has been emptied since: what was read of it may be anything."""
        return part.path == self.path and self.path.with_name(f"{self.path.name}.{part.number}").exists()

    def _store(self, store: ObjectStore, order: LogPublication, part: Part, planned: PlannedObject) -> None:
        text = self.shown(_read(part, planned.start, planned.end)).decode(errors="replace")  # clients take UTF-8 alone
        if text:
            lines = len(text.splitlines())  # as clients count them
            headers = {
                "X-Delete-After": str(order.seconds),
                "X-Object-Meta-Lines": str(lines),
                "Content-Type": "text/plain; charset=utf-8",
            }
            store.put(f"{order.folder}/{planned.name}", text.encode(), headers)
        head = min(HEAD, planned.end)
        place = Place(number=part.number, offset=planned.end, head=head, digest=_digest(part, head))
        self._note(published=self.state.published + planned.end - planned.start, place=place, planned=None)

    def _described(self) -> bytes:
        """Trove's members."""
        state = self.state
        described = {
            "log_name": self.name,
            "log_type": self.kind,
            "log_file": str(self.path),
            "log_size": state.published,
            "log_header_digest": state.place.digest if state.place else "",
        }
        return json.dumps(described).encode()

    def _note(self, **changed: object) -> None:
        self.book.put(self.name, self.state.model_copy(update=changed))


def _read(part: Part, start: int, end: int) -> bytes:
    with reading(part.path) as file:
        file.seek(start)
        return file.read(max(0, end - start))


def _digest(part: Part, head: int) -> str:
    return hashlib.sha256(_read(part, 0, head)).hexdigest()


def _begins_so(part: Part, place: Place) -> bool:
    return part.size >= place.offset and _digest(part, place.head) == place.digest
