"""The grant tables of MySQL: roles are accounts, and rights on everything are columns."""

import re
from collections.abc import Iterator

from contract.domain.accounts import UserName
from guest_worker.datastores.mariadb import grants
from guest_worker.datastores.mariadb.grants import PUBLIC
from guest_worker.datastores.mariadb.session import Row

ON_DATABASES = ("Select", "Insert", "Update", "Delete", "Create", "Drop", "References", "Index", "Alter",
                "Create_tmp_table", "Lock_tables", "Execute", "Create_view", "Show_view", "Create_routine",
                "Alter_routine", "Event", "Trigger")  # fmt: skip
MANDATORY = re.compile(r"[`'\"]?([^`'\"@,]+)[`'\"]?(?:@[`'\"]?([^`'\"@,]+)[`'\"]?)?")


class Grants(grants.Grants):
    """MySQL's."""

    tables = ("user", "db", "role_edges", "tables_priv", "procs_priv")

    def _on_all(self) -> list[Row]:
        columns = ", ".join(f"{each}_priv" for each in ON_DATABASES)
        return self._engine.rows(f"SELECT User, Host FROM mysql.user WHERE 'Y' IN ({columns})")

    def _members(self) -> Iterator[tuple[UserName, UserName]]:
        """Users and roles, each with a role that was granted to it; `mandatory_roles` are granted to everybody."""
        statement = "SELECT TO_USER, TO_HOST, FROM_USER, FROM_HOST FROM mysql.role_edges"
        for name, host, role, its_host in self._engine.rows(statement):
            yield UserName(name=name, host=host), UserName(name=role, host=its_host)
        said = str(self._engine.rows("SELECT @@GLOBAL.mandatory_roles")[0][0] or "")
        for name, host in MANDATORY.findall(said):
            yield PUBLIC, UserName(name=name.strip(), host=host.strip() or "%")
