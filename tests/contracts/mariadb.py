"""What tenants make, lay and hold in MariaDB."""

from tests.contracts.tables import Hold, Thing, Trap

MARIADB_ATTEMPT = (
    "CREATE TABLE t (n int)",
    "CREATE PROCEDURE become() MODIFIES SQL DATA SQL SECURITY INVOKER BEGIN"
    " DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;"
    " UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.access', 274877906943) WHERE User = 'amy'; END",
)
MARIADB_THINGS = (
    Thing("table", ("CREATE TABLE t (n int)",), ("INSERT INTO t VALUES (1)",), ("DROP TABLE t",)),
    Thing(
        "view",
        ("CREATE TABLE t (n int)", "CREATE VIEW `v ``1` AS SELECT n, 'DEFINER=`x`@`y`' AS said FROM t"),
        ("SELECT * FROM `v ``1`", "INSERT INTO `v ``1` (n) VALUES (1)"),
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
)
MARIADB_TRAPS = (
    Trap("trigger", ("CREATE TRIGGER trap AFTER INSERT ON t FOR EACH ROW CALL become()",)),
    Trap(
        "view",
        ("CREATE FUNCTION f() RETURNS int BEGIN CALL become(); RETURN 1; END", "CREATE VIEW v AS SELECT f()"),
    ),
    Trap("procedure", ("CREATE PROCEDURE trap() SQL SECURITY DEFINER CALL become()",)),
    Trap("event", ("CREATE EVENT trap ON SCHEDULE EVERY 1 SECOND DO CALL become()",)),
)
MARIADB_HOLDS = (
    Hold("read", ("BEGIN", "SELECT * FROM t")),
    Hold("write", ("BEGIN", "INSERT INTO t VALUES (1)")),
    Hold("row lock", ("BEGIN", "SELECT * FROM t FOR UPDATE")),
    Hold("table lock", ("LOCK TABLES t WRITE",)),
    Hold("handler", ("HANDLER t OPEN",)),
    Hold("other schema", ("USE information_schema", "BEGIN", "SELECT * FROM app.t")),
    Hold("accounts locked", ("LOCK TABLES mysql.global_priv WRITE",), by_root=True),
    Hold("grants read", ("LOCK TABLES mysql.db READ",), by_root=True),
    Hold("global read lock", ("FLUSH TABLES WITH READ LOCK",), by_root=True),
    Hold("backup", ("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"), by_root=True),
)
