"""What tenants make, lay and hold in MariaDB."""

from pathlib import Path
from typing import Any, ClassVar

import pymysql

from tests.contracts import mariadb_left
from tests.contracts.tables import Dialect, Hold, Thing, Trap

ATTEMPT = (
    "CREATE TABLE t (n int)",
    "CREATE PROCEDURE become() MODIFIES SQL DATA SQL SECURITY INVOKER BEGIN"
    " DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;"
    " UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.access', 274877906943) WHERE User = 'amy'; END",
)
THINGS = (
    Thing("table", ("CREATE TABLE t (n int)",), ("INSERT INTO t VALUES (1)",), ("DROP TABLE t",)),
    Thing(
        "view",
        ("CREATE TABLE t (n int)", "CREATE VIEW `v ``1` AS SELECT n, 'DEFINER=`x`@`y`' AS said FROM t"),
        ("SELECT * FROM `v ``1`", "UPDATE `v ``1` SET n = 1"),
        ("CREATE OR REPLACE VIEW `v ``1` AS SELECT 1", "DROP VIEW `v ``1`", "DROP TABLE t"),
    ),
    Thing(
        "triggers",
        (
            "CREATE TABLE t (n int)",
            "CREATE TABLE log (n int UNIQUE)",
            "CREATE TRIGGER first BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1",
            "CREATE TRIGGER `second ``` BEFORE INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.n * 10)",
            "CREATE TRIGGER third BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + (SELECT MAX(n) FROM log)",
        ),
        ("DELETE FROM log", "INSERT INTO t VALUES (1)", "INSERT INTO log SELECT 20 FROM t WHERE NOT n <=> 22"),
        ("DROP TRIGGER first", "DROP TABLE t", "DROP TABLE log"),
    ),
    Thing(
        "function",
        (
            "CREATE TABLE t (n int)",
            "CREATE FUNCTION f(s varchar(9)) RETURNS int READS SQL DATA RETURN (SELECT COUNT(*) FROM t)",
        ),
        ("SELECT f('x')",),
        ("ALTER FUNCTION f COMMENT 'c'", "DROP FUNCTION f", "DROP TABLE t"),
    ),
    Thing(
        "procedure",
        ("CREATE TABLE t (n int)", "CREATE PROCEDURE p(IN x int) INSERT INTO t VALUES (x)"),
        ("CALL p(1)",),
        ("DROP PROCEDURE p", "DROP TABLE t"),
    ),
    Thing(
        "event",
        (
            "CREATE TABLE t (n int)",
            "CREATE EVENT e ON SCHEDULE EVERY 1 HOUR COMMENT 'it''s' DO INSERT INTO t VALUES (1)",
        ),
        ("SHOW CREATE EVENT e",),
        ("ALTER EVENT e DISABLE", "DROP EVENT e", "DROP TABLE t"),
    ),
    Thing(
        "routines, trigger and event of another SQL mode",
        (
            "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            'CREATE TABLE "t" (s varchar(9))',
            """CREATE FUNCTION "f ""1"() RETURNS varchar(9) DETERMINISTIC COMMENT 'it''s' RETURN '\\' """,
            """CREATE PROCEDURE "p"() INSERT INTO "t" VALUES ("f ""1"())""",
            """CREATE TRIGGER "g" BEFORE INSERT ON "t" FOR EACH ROW SET NEW.s = concat(NEW.s, '\\')""",
            """CREATE EVENT "e" ON SCHEDULE EVERY 1 HOUR ON COMPLETION PRESERVE DISABLE COMMENT ''' RENAME TO "h" -- \\'
                DO INSERT INTO "t" VALUES ('\\')""",
        ),
        ("CALL p()", "SHOW CREATE EVENT e", "INSERT INTO t SELECT 'refused: too long' FROM t WHERE s <> '\\\\\\\\'"),
        ("ALTER EVENT e ENABLE", "DROP EVENT e", "DROP PROCEDURE p", 'DROP FUNCTION `f "1`', "DROP TABLE t"),
    ),
)
ORACLE = Thing(
    "package of the SQL mode ORACLE",
    (
        "SET sql_mode = 'ORACLE'",
        "CREATE TABLE t (n int)",
        "CREATE PACKAGE k AS PROCEDURE p; END",
        "CREATE PACKAGE BODY k AS PROCEDURE p AS BEGIN INSERT INTO t VALUES (1); END; END",
        "CREATE FUNCTION f(x int) RETURN int AS BEGIN RETURN x; END",
    ),
    ("SET sql_mode = 'ORACLE'", "CALL k.p()", "SELECT f(1)"),
    ("SET sql_mode = 'ORACLE'", "DROP PACKAGE k", "DROP FUNCTION f", "DROP TABLE t"),
)
TRAPS = (
    Trap("trigger", ("CREATE TRIGGER trap AFTER INSERT ON t FOR EACH ROW CALL become()",)),
    Trap(
        "view",
        ("CREATE FUNCTION f() RETURNS int BEGIN CALL become(); RETURN 1; END", "CREATE VIEW v AS SELECT f()"),
    ),
    Trap("procedure", ("CREATE PROCEDURE trap() SQL SECURITY DEFINER CALL become()",)),
    Trap("event", ("CREATE EVENT trap ON SCHEDULE EVERY 1 SECOND DO CALL become()",)),
)
HOLDS = (
    Hold("read", ("BEGIN", "SELECT * FROM t")),
    Hold("write", ("BEGIN", "INSERT INTO t VALUES (1)")),
    Hold("row lock", ("BEGIN", "SELECT * FROM t FOR UPDATE")),
    Hold("table lock", ("LOCK TABLES t WRITE",)),
    Hold("handler", ("HANDLER t OPEN",)),
    Hold("other schema", ("USE information_schema", "BEGIN", "SELECT * FROM app.t")),
    Hold(
        "prepared",
        ("XA START 'x'", "INSERT INTO t VALUES (1)", "XA END 'x'", "XA PREPARE 'x'"),
        release="XA ROLLBACK 'x'",
    ),
    Hold("named lock", ("SELECT GET_LOCK('x', 1)",)),
)
ROOT_HOLDS = (
    Hold("accounts locked", ("LOCK TABLES mysql.global_priv WRITE",)),
    Hold("grants read", ("LOCK TABLES mysql.db READ",)),
    Hold("global read lock", ("FLUSH TABLES WITH READ LOCK",)),
    Hold("backup", ("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL")),
    Hold(
        "backup to its end",
        ("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT"),
    ),
    *(
        Hold(f"locked {table}", (f"LOCK TABLES mysql.{table} WRITE",))
        for table in (
            "db",
            "roles_mapping",
            "tables_priv",
            "columns_priv",
            "procs_priv",
            "proxies_priv",
            "proc",
            "event",
        )
    ),
)
HARM = {
    "dropped": ["DROP USER os_admin@localhost"],
    "renamed": ["RENAME USER os_admin@localhost TO gone@localhost"],
    "other password": ["SET PASSWORD FOR os_admin@localhost = PASSWORD('mine')"],
    "other plugin": ["ALTER USER os_admin@localhost IDENTIFIED VIA unix_socket"],
    "no such plugin": ["UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.plugin', 'nonesuch') "
                       "WHERE User = 'os_admin'", "FLUSH PRIVILEGES"],
    "locked": ["ALTER USER os_admin@localhost ACCOUNT LOCK"],
    "expired": ["ALTER USER os_admin@localhost PASSWORD EXPIRE"],
    "must use TLS": ["ALTER USER os_admin@localhost REQUIRE SSL"],
    "one connection": ["ALTER USER os_admin@localhost WITH MAX_USER_CONNECTIONS 1"],
    "few queries": ["ALTER USER os_admin@localhost WITH MAX_QUERIES_PER_HOUR 1"],
    "no rights": ["REVOKE ALL PRIVILEGES, GRANT OPTION FROM os_admin@localhost"],
    "one right less": ["REVOKE CREATE USER ON *.* FROM os_admin@localhost"],
    "no grant option": ["REVOKE GRANT OPTION ON *.* FROM os_admin@localhost"],
    "an impostor": ["DROP USER os_admin@localhost", "CREATE USER os_admin@'%' IDENTIFIED BY 'mine'"],
    "a role of its name": ["DROP USER os_admin@localhost", "CREATE ROLE os_admin"],
    "row deleted": ["DELETE FROM mysql.global_priv WHERE User = 'os_admin'", "FLUSH PRIVILEGES"],
    "row is no JSON": ["UPDATE mysql.global_priv SET Priv = '{}' WHERE User = 'os_admin'", "FLUSH PRIVILEGES"],
}  # fmt: skip
HARMLESS = {
    "read only": ["SET GLOBAL read_only = 1"],
    "init_connect": ["SET GLOBAL init_connect = 'SELECT nonsense FROM nowhere'"],
    "sql_mode": ["SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ORACLE'"],
    "TLS for everybody": ["SET GLOBAL require_secure_transport = 1"],
}


class MariaDBDialect(Dialect):
    """MariaDB over pymysql."""

    manager = "mariadb"
    forgetful = {"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0", "innodb_flush_method": "nosync"}
    memory_question = "SELECT @@innodb_buffer_pool_size"
    attempt = ATTEMPT
    things: ClassVar[tuple[Thing, ...]] = (*THINGS, ORACLE)
    traps = TRAPS
    holds = HOLDS
    root_holds = ROOT_HOLDS
    left = mariadb_left.LEFT
    also_granted = ("GRANT SELECT ON t TO amy@'%'", "GRANT SELECT ON `ap%`.* TO amy@'%'")
    powerful = mariadb_left.POWERFUL
    work_of_root = mariadb_left.WORK
    believe = ("FLUSH PRIVILEGES",)
    clean = ("DROP EVENT IF EXISTS mysql.e", "DROP ROLE IF EXISTS r1, r2", "DROP USER IF EXISTS ''@'%'")
    harm = HARM
    harmless = HARMLESS
    accounts_named = "SELECT count(*) FROM mysql.global_priv WHERE User LIKE '{}%'"
    databases_named = "SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '{}%'"
    large_table = ("CREATE TABLE heap (text LONGTEXT)",)

    def administer(self, data: Path, password: str, database: str = "") -> Any:
        """Over the socket."""
        socket = str(data / "mariadb" / "mariadb.sock")
        return pymysql.connect(
            unix_socket=socket, user="os_admin", password=password, database=database or None, autocommit=True,
            ssl_disabled=True,
        )  # fmt: skip

    def owned_by_administrator(self, connection: Any) -> list[str]:
        """Views, routines, triggers and events whose definer is the administrator."""
        found = self.ask(
            connection,
            "SELECT CONCAT('view ', TABLE_NAME) FROM information_schema.VIEWS"
            " WHERE TABLE_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'"
            " UNION ALL SELECT CONCAT('routine ', ROUTINE_NAME) FROM information_schema.ROUTINES"
            " WHERE ROUTINE_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'"
            " UNION ALL SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS"
            " WHERE TRIGGER_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'"
            " UNION ALL SELECT CONCAT('event ', EVENT_NAME) FROM information_schema.EVENTS"
            " WHERE EVENT_SCHEMA = DATABASE() AND DEFINER LIKE 'os\\_admin@%'",
        )
        return [name for (name,) in found]

    def powers(self, connection: Any, user: str) -> list[str]:
        """Global privileges."""
        found = self.ask(
            connection,
            "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES"
            f" WHERE GRANTEE LIKE '''{user}''@%' AND PRIVILEGE_TYPE <> 'USAGE'",
        )
        return [name for (name,) in found]


DIALECT = MariaDBDialect()
