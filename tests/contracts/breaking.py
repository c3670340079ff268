"""Drivers of another kind, built in a process of their own.

One has an engine that gives one statement up, as for a lock that somebody holds; one looks at its account all the time.
"""

import functools
from typing import Any

from contract.domain.errors import Busy
from guest_worker.datastores import open_datastore, probing
from guest_worker.datastores.base import UNCHANGED, EngineContext
from guest_worker.datastores.mariadb.session import Connection, TimedOut
from guest_worker.datastores.postgresql.session import Change, Session


class Breaking:
    """Counts the statements of calls, and fails one of them."""

    def __init__(self) -> None:
        self._left = 0
        self._failed = False

    def at(self, number: int) -> None:
        """Fail the statement of this number from now on; 0 for none."""
        if number:
            self._failed = False
        self._left = number

    def has_failed(self) -> bool:
        """Whether that statement has come."""
        return self._failed

    def counted(self, kind: type[Any], name: str, error: Exception) -> None:
        """Count what a method does."""
        method = getattr(kind, name)

        @functools.wraps(method)
        def counting(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._failed = True
                raise error
            return method(*arguments, **options)

        setattr(kind, name, counting)


def open_breaking(manager: str, context: EngineContext) -> Any:
    """A datastore with a member `breaking`."""
    engine: Any = open_datastore(manager, context)
    engine.breaking = Breaking()
    busy = Busy(f"The database is locked by a test; {UNCHANGED}.")
    engine.breaking.counted(Change, "__call__", busy)
    engine.breaking.counted(Session, "rows", busy)
    engine.breaking.counted(Connection, "_do", TimedOut("the database did not get to it in time"))
    return engine


def open_suspicious(manager: str, context: EngineContext) -> Any:
    """A datastore that logs in at each look, not every ten seconds."""
    probing.LOGIN_EVERY = 0.0
    return open_datastore(manager, context)
