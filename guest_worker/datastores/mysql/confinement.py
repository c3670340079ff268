"""What is taken from everybody in MySQL when root is disabled."""

from collections.abc import Sequence

from contract.domain.accounts import UserName
from contract.domain.datastores.mysql import MYSQL
from guest_worker.datastores.mariadb import confinement, sql

SYSTEMS = ("mysql.sys", "mysql.session", "mysql.infoschema")


class Confinement(confinement.Confinement):
    """MySQL's."""

    systems = tuple(UserName(name=name, host="localhost") for name in SYSTEMS)
    reserved = MYSQL.reserved_users
    accounts = "SELECT User, Host, NULL FROM mysql.user"

    def _powerful(self) -> dict[UserName, set[str]]:
        """Rights on everything: those that are columns, and those of a name."""
        columns = [str(name) for name, *_ in self._engine.rows("SHOW COLUMNS FROM mysql.user LIKE '%\\_priv'")]
        rows = self._engine.rows(
            f"SELECT User, Host FROM mysql.user WHERE 'Y' IN ({', '.join(columns)})"
            " UNION SELECT USER, HOST FROM mysql.global_grants"
        )
        found = [UserName(name=name, host=host) for name, host in rows]
        return {user: self._on_everything(user) for user in found if user not in self._own}

    def _on_everything(self, user: UserName) -> set[str]:
        """Rights on everything are told in two rows."""
        found: set[str] = set()
        for (shown,) in self._engine.rows(f"SHOW GRANTS FOR {sql.account(user)}"):
            rights, on_all, _ = str(shown).removeprefix("GRANT ").partition(" ON *.* TO ")
            found.update(each.strip() for each in rights.split(",") if on_all)
        return found - {"USAGE"}

    def _on_all(self, rights: set[str]) -> Sequence[str]:
        """Each by its name: to revoke all on everything would take the rights on databases, too."""
        return (", ".join(sorted(rights)),) if rights else ()

    def _stop_replication(self) -> None:
        """What comes from another server is done with all rights; and nobody is given a role by a setting."""
        self._engine.rows("SET GLOBAL mandatory_roles = ''")
        for row in self._engine.records("SHOW REPLICA STATUS"):
            channel = sql.text(row["Channel_Name"])
            self._engine.rows(f"STOP REPLICA FOR CHANNEL {channel}")
            self._engine.rows(f"RESET REPLICA ALL FOR CHANNEL {channel}")
