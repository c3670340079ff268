"""The facts of MySQL: in names, hosts and collations much like MariaDB's.

`python -m guest_worker.datastores.mysql.facts` writes what character sets and collations a version has.
"""

from contract.domain.datastores.mariadb import facts

MANAGER = "mysql"
DEFAULT_SERIES = "9.7"
USER_MAX = 32  # characters
RESERVED_USERS = frozenset({"os_admin", "root", "mysql", "mysql.sys", "mysql.session", "mysql.infoschema"})
MYSQL = facts(MANAGER, DEFAULT_SERIES, USER_MAX, RESERVED_USERS, {})
