"""The error log of MariaDB and MySQL, and their logs of statements, which are switched while the engine runs."""

import re
from collections.abc import Iterable
from pathlib import Path

from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.logs import Logs
from guest_worker.datastores.mariadb.connecting import ADMIN, UNLOGGED_SESSION
from guest_worker.datastores.mariadb.session import Session
from guest_worker.datastores.mariadb.variables import set_globals
from guest_worker.logs.files import LogFile

STATEMENTS = {"general": "general_log", "slow_query": "slow_query_log"}  # the engine's names of them
UNLOGGED = ("--general-log=0", "--slow-query-log=0")  # for a process that our own statements are told to
_ENTRY = re.compile(rb"[^\t]*\t+ *(\d+) (Connect|Query)\t(.*)", re.S)
_OURS = f"{ADMIN}@localhost ".encode()
_BEGINNING = (b"SET NAMES ", UNLOGGED_SESSION.encode())  # what a session of ours says until it is not logged any more


class QueryLogs(Logs):
    """Of MariaDB and of MySQL."""

    def __init__(self, context: EngineContext, session: Session, errors: Path) -> None:
        self._session = session
        self._errors = errors
        self._files = {name: context.config_file(f"{name}.log") for name in STATEMENTS}
        # only guest and engine enter the folder, in which the engine can make nothing
        self._mode = 0o600 if context.config is None else 0o622

    def files(self) -> dict[str, Path]:
        """The error log is the guest's own file, which the engine was given open."""
        return {"error": self._errors, **self._files}

    def settings(self, enabled: frozenset[str]) -> dict[str, str]:
        """The files are always told, so that a log can be switched on."""
        for path in self._files.values():
            LogFile(path).make(self._mode)
        files = {f"{STATEMENTS[name]}_file": str(path) for name, path in self._files.items()}
        return {"log_output": "FILE", **files, **self._switches(enabled)}

    def _switches(self, enabled: frozenset[str]) -> dict[str, str]:
        return {variable: str(int(name in enabled)) for name, variable in STATEMENTS.items()}

    def switch(self, enabled: frozenset[str]) -> None:
        """Set global variables; also the files, which the tenant's root may have set to others."""
        set_globals(self._session, {}, self.settings(enabled), {})

    def without_ours(self, name: str, lines: bytes) -> bytes:
        """Logins of ours, and what they say first; all else that they say is never written."""
        return b"".join(_others(lines.splitlines(keepends=True))) if name == "general" else lines


def _others(lines: Iterable[bytes]) -> Iterable[bytes]:
    begun: set[bytes] = set()  # numbers of our sessions that are still logged
    for line in lines:
        found = _ENTRY.fullmatch(line)
        if found is None:
            yield line
            continue
        number, command, said = found.groups()
        if command == b"Connect":
            (begun.add if said.startswith(_OURS) else begun.discard)(number)
        ours = number in begun and (command == b"Connect" or said.startswith(_BEGINNING))
        if ours and said.startswith(_BEGINNING[1]):
            begun.discard(number)
        if not ours:
            yield line
