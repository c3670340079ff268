"""The log of PostgreSQL, which writes all that it says to one file; each statement too, where that is wanted."""

import re
from pathlib import Path

from psycopg import sql

from guest_worker.datastores.logs import Logs
from guest_worker.datastores.postgresql.reloading import reload
from guest_worker.datastores.postgresql.session import Session

GENERAL = "general"
STATEMENTS = {"log_statement": "all", "log_line_prefix": "%m [%p] %q%u@%d "}

# a statement, what belongs to one, and the further lines of either, which begin with a tab
OF_TENANTS = re.compile(r"^\t| (LOG:  (statement|execute|duration|parse|bind)\b|(STATEMENT|QUERY|CONTEXT|DETAIL): )")


class ServerLog(Logs):
    """The guest's own file, which the server was given open."""

    def __init__(self, session: Session, log: Path) -> None:
        self._session = session
        self._log = log

    def files(self) -> dict[str, Path]:
        """One."""
        return {GENERAL: self._log}

    def settings(self, enabled: frozenset[str]) -> dict[str, str]:
        """Who says what, or nothing but what the server itself has to say."""
        return STATEMENTS if GENERAL in enabled else {}

    def switch(self, enabled: frozenset[str]) -> None:
        """Have postgresql.conf read again, which says it already; a superuser of the tenant's may have said otherwise."""
        for name in STATEMENTS:
            self._session.rows(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
        reload(self._session)
