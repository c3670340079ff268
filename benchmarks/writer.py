"""A client that goes on writing while its database is operated on, and knows what was acknowledged."""

import threading
import time
from types import TracebackType
from typing import Self

from guest_worker.datastores import client_of

TABLE = "CREATE TABLE written (number bigint PRIMARY KEY)"
PAUSE = 0.02  # between two attempts to connect


class Writer:
    """Inserts one number after the other, each in a transaction of its own, and connects anew when it is cut off.

    A number whose insert was broken off may be there or not; it is not used again. `longest` is the time in seconds between
    two acknowledged inserts, since the last call of `reset`.
    """

    def __init__(self, manager: str, address: str, user: str, password: str, database: str) -> None:
        self._client = client_of(manager)
        self._cut_off: tuple[type[Exception], ...] = (*self._client.refused, OSError)
        self._login = (address, user, password, database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._next = 0
        self._last = time.monotonic()
        self.acknowledged: list[int] = []
        self.longest = 0.0

    def __enter__(self) -> Self:
        connection = self._client.connect(*self._login)
        self._client.ask(connection, TABLE)
        connection.close()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    def reset(self) -> None:
        """Forget interruptions so far."""
        self._last, self.longest = time.monotonic(), 0.0

    def wait_for(self, more: int, seconds: float = 60) -> None:
        """Return when so many more inserts were acknowledged; AssertionError otherwise."""
        wanted, deadline = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"nothing was written for {time.monotonic() - self._last:.1f} s"
            time.sleep(PAUSE)

    def stored(self) -> list[int]:
        """The numbers that the database has, asked on a connection of its own."""
        connection = self._client.connect(*self._login)
        try:
            return [int(row[0]) for row in self._client.ask(connection, "SELECT number FROM written ORDER BY number")]
        finally:
            connection.close()

    def _write(self) -> None:
        while not self._stop.is_set():
            try:
                connection = self._client.connect(*self._login)
            except self._cut_off:
                time.sleep(PAUSE)
                continue
            try:
                while not self._stop.is_set():
                    self._insert(connection)
            except self._cut_off:
                pass  # cut off
            finally:
                connection.close()

    def _insert(self, connection: object) -> None:
        number, self._next = self._next, self._next + 1
        self._client.ask(connection, f"INSERT INTO written VALUES ({number})")
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now
        self.acknowledged.append(number)
