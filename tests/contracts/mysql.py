"""What tenants make, lay and hold in MySQL; what is the same in MariaDB is MariaDB's."""

from pathlib import Path
from typing import Any

import pymysql

from guest_worker.datastores.mysql.connecting import BY_SOCKET, BySocket
from guest_worker.datastores.mysql.engine import TABLES
from tests.contracts import mysql_left
from tests.contracts.mariadb import THINGS, MariaDBDialect
from tests.contracts.tables import Hold
from tests.driver_process import as_nobody

ATTEMPT = (
    "CREATE TABLE t (n int)",
    "CREATE PROCEDURE become() MODIFIES SQL DATA SQL SECURITY INVOKER BEGIN"
    " DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;"
    " UPDATE mysql.user SET Super_priv = 'Y', Create_user_priv = 'Y' WHERE User = 'amy'; END",
)
ROOT_HOLDS = (
    Hold("accounts locked", ("LOCK TABLES mysql.user WRITE",)),
    Hold("grants read", ("LOCK TABLES mysql.db READ",)),
    Hold("global read lock", ("FLUSH TABLES WITH READ LOCK",)),
    Hold("backup", ("LOCK INSTANCE FOR BACKUP",)),
    *(Hold(f"locked {table}", (f"LOCK TABLES mysql.{table} WRITE",)) for table in TABLES if table != "user"),
    Hold("accounts read", ("LOCK TABLES mysql.user READ",)),
)
ADMINISTRATOR = "WHERE User = 'os_admin' AND Host = 'localhost'"
# The tenant's root changes no account that has SYSTEM_USER by a statement about accounts, but it may write the tables.
HARM = {
    "dropped": [f"DELETE FROM mysql.user {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "dropped by one who took the right to": ["GRANT SYSTEM_USER ON *.* TO root@'%'", "DROP USER os_admin@localhost"],
    "renamed": [f"UPDATE mysql.user SET User = 'gone' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "other plugin": [f"UPDATE mysql.user SET plugin = 'caching_sha2_password' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "no such plugin": [f"UPDATE mysql.user SET plugin = 'nonesuch' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "another OS user": [f"UPDATE mysql.user SET authentication_string = 'daemon' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "locked": [f"UPDATE mysql.user SET account_locked = 'Y' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "must use TLS": [f"UPDATE mysql.user SET ssl_type = 'X509' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "one connection": [f"UPDATE mysql.user SET max_user_connections = 1 {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "one right less": [f"UPDATE mysql.user SET Create_user_priv = 'N' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "no grant option": [f"UPDATE mysql.user SET Grant_priv = 'N' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
    "no dynamic rights": ["DELETE FROM mysql.global_grants WHERE USER = 'os_admin'", "FLUSH PRIVILEGES"],
    "an impostor": [f"DELETE FROM mysql.user {ADMINISTRATOR}", "FLUSH PRIVILEGES",
                    "CREATE USER os_admin@'%' IDENTIFIED BY 'mine'"],
    "a role of its name": [f"DELETE FROM mysql.user {ADMINISTRATOR}", "FLUSH PRIVILEGES", "CREATE ROLE os_admin"],
}  # fmt: skip
HARMLESS = {
    "read only": ["SET GLOBAL super_read_only = 1"],
    "read only for ever": ["SET PERSIST read_only = 1"],
    "no start": ["SET PERSIST_ONLY innodb_buffer_pool_size = 900000000000000"],
    "init_connect": ["SET GLOBAL init_connect = 'SELECT nonsense FROM nowhere'"],
    "sql_mode": ["SET GLOBAL sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'"],
    "TLS for everybody": ["SET GLOBAL require_secure_transport = 1"],
    "expired": [f"UPDATE mysql.user SET password_expired = 'Y' {ADMINISTRATOR}", "FLUSH PRIVILEGES"],
}


class MySQLDialect(MariaDBDialect):
    """MySQL over pymysql."""

    manager = "mysql"
    attempt = ATTEMPT
    things = THINGS
    root_holds = ROOT_HOLDS
    left = mysql_left.LEFT
    powerful = mysql_left.POWERFUL
    clean = ("DROP ROLE IF EXISTS r1, r2", "DROP USER IF EXISTS ''@'%'", "SET GLOBAL mandatory_roles = ''")
    harm = HARM
    harmless = HARMLESS
    accounts_named = "SELECT count(*) FROM mysql.user WHERE User LIKE '{}%'"

    def administer(self, data: Path, password: str, database: str = "") -> Any:
        """Over the socket, as the OS user that the engine takes for its administrator."""
        with as_nobody():
            return pymysql.connect(
                unix_socket=str(data / "mysql" / "mysql.sock"), user="os_admin", database=database or None,
                autocommit=True, auth_plugin_map={BY_SOCKET: BySocket}, ssl_disabled=True,
            )  # fmt: skip


DIALECT = MySQLDialect()
