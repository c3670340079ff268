"""Databases and users of MySQL."""

from pathlib import Path

from contract.domain.datastores.mysql import MYSQL
from contract.domain.errors import Busy
from guest_worker.datastores.base import UNCHANGED
from guest_worker.datastores.mariadb import accounts, sql
from guest_worker.datastores.mariadb.accounts import DROP_SECONDS, NO_SUCH_DATABASE, listed
from guest_worker.datastores.mariadb.session import Row, StatementRefused
from guest_worker.datastores.mysql.confinement import Confinement
from guest_worker.datastores.mysql.definers import Definers
from guest_worker.datastores.mysql.engine import Engine
from guest_worker.datastores.mysql.grants import Grants
from guest_worker.datastores.mysql.session import Session

REFERENCED = 3730
OURS_ALONE = ("SYSTEM_USER", "CONNECTION_ADMIN", "SERVICE_CONNECTION_ADMIN", "SUPER")
"""What the tenant's root does not get: to change or end the administrator, or to use the connection that is kept for it."""


class MySQLAccounts(accounts.MariaDBAccounts):
    """MySQL's."""

    facts = MYSQL
    table = "mysql.user"
    confinement = Confinement

    def __init__(self, session: Session, state: Path) -> None:
        engine = Engine(session)
        grants = Grants(engine)
        definers = Definers(engine, grants, state)
        super().__init__(engine, grants, definers)
        self._mysql_definers = definers

    def finish(self) -> None:
        """Recreate what was being recreated when a guest worker before this one ended."""
        self._mysql_definers.finish()

    def _of_collation(self, collation: str) -> str:
        return f"COLLATION_NAME = {sql.text(listed(collation))}"

    def _refuse_referenced(self, name: str) -> None:
        """The engine refuses it by itself, before it drops anything."""

    def _drop_waiting(self, name: str) -> None:
        with self._engine.session.connection() as connection:
            connection.fresh = False  # what is set ends with it
            connection.rows(f"SET SESSION lock_wait_timeout = {DROP_SECONDS}")
            try:
                connection.rows(f"DROP DATABASE {sql.name(name)}")
            except StatementRefused as error:
                if error.code == REFERENCED:
                    raise Busy(f"A foreign key of another database refers to database {name}; {UNCHANGED}.") from error
                if error.code != NO_SUCH_DATABASE:
                    raise

    def _users(self) -> list[Row]:
        """All accounts but roles: those are locked and expired, and have no password."""
        return self._engine.rows(
            "SELECT User, Host FROM mysql.user"
            " WHERE NOT (account_locked = 'Y' AND password_expired = 'Y' AND authentication_string = '')"
        )

    def _grant_everything(self, root: str) -> None:
        """All that the administrator has but what keeps the administrator's account."""
        shown = self._engine.rows("SHOW PRIVILEGES")
        fixed = [str(name).upper() for name, *_ in shown if _is_fixed(str(name))]
        given = self._engine.rows("SELECT PRIV FROM mysql.global_grants WHERE User = 'os_admin' AND Host = 'localhost'")
        loose = [str(name) for (name,) in given if name not in OURS_ALONE]
        self._engine.rows(f"GRANT {', '.join([*fixed, *loose])} ON *.* TO {root} WITH GRANT OPTION")


def _is_fixed(name: str) -> bool:
    """Whether it is one of the privileges that are columns, which are written in words."""
    return name.upper() != name and name.lower() not in ("grant option", "proxy", "super", "usage")
