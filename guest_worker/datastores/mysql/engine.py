"""Asking MySQL for account calls."""

import re

from guest_worker.datastores.base import UNCHANGED
from guest_worker.datastores.mariadb import engine
from guest_worker.datastores.mariadb.engine import OF_ACCOUNTS, of_tables
from guest_worker.datastores.mariadb.session import LOCK_SECONDS, Row

CHANGE_OF_ACCOUNTS = re.compile(r"(GRANT|REVOKE|(CREATE|ALTER|DROP|RENAME) (USER|ROLE)|SET DEFAULT ROLE)\b")
TABLES = ("columns_priv", "db", "default_roles", "global_grants", "password_history", "procs_priv", "proxies_priv",
          "role_edges", "tables_priv", "user")  # fmt: skip


class Engine(engine.Engine):
    """MySQL's."""

    of_everything = (
        "m.OBJECT_TYPE IN ('GLOBAL', 'COMMIT', 'BACKUP LOCK', 'ACL CACHE') AND m.LOCK_TYPE IN ('SHARED', 'EXCLUSIVE')"
    )

    def rows(self, statement: str, *, of: str = OF_ACCOUNTS, after: str = UNCHANGED) -> list[Row]:
        """Do a statement. One that changes accounts locks all grant tables, so it is not begun while one is in use.

        It would wait for that one with the others locked, and lists for the others.
        """
        if CHANGE_OF_ACCOUNTS.match(statement):
            self.await_free(of_tables(*TABLES), LOCK_SECONDS, after=after)
        return super().rows(statement, of=of, after=after)
