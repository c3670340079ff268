"""What a tenant's root leaves in MariaDB."""

from tests.contracts.tables import Leftover

_UP = "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.access', 274877906943) WHERE User = 'amy'"
_LOOT = "INSERT INTO app.loot SELECT User FROM mysql.global_priv"
_TRY = "DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;"
_BODY = f"BEGIN {_TRY} {_LOOT}; {_UP}; GRANT ALL PRIVILEGES ON *.* TO amy@'%' WITH GRANT OPTION; END"
_QUIET = f"BEGIN {_TRY} {_LOOT}; {_UP}; END"


def _definer(who: str, name: str) -> tuple[Leftover, ...]:
    by = f"DEFINER = {who}"
    return (
        Leftover(f"procedure of {name}", (f"CREATE {by} PROCEDURE p() {_BODY}",), ("CALL p()",)),
        Leftover(
            f"function of {name}",
            (f"CREATE {by} FUNCTION f() RETURNS int {_QUIET[:-3]} RETURN 1; END",),
            ("SELECT f()",),
        ),
        Leftover(
            f"trigger of {name}",
            (f"CREATE {by} TRIGGER g AFTER INSERT ON t FOR EACH ROW {_QUIET}",),
            ("INSERT INTO t VALUES (1)",),
        ),
        Leftover(
            f"view of {name}",
            (f"CREATE {by} VIEW v AS SELECT User FROM mysql.global_priv",),
            ("INSERT INTO loot SELECT User FROM v", "UPDATE v SET User = 'x' WHERE User = 'bob'"),
        ),
        Leftover(
            f"view of {name} on what is not there yet",
            (
                "CREATE TABLE later (n int)",
                f"CREATE {by} VIEW v AS SELECT g.User FROM mysql.global_priv g, later",
                "DROP TABLE later",
            ),
            ("CREATE TABLE later (n int)", "INSERT INTO later VALUES (1)", "INSERT INTO loot SELECT User FROM v"),
        ),
        Leftover(
            f"event of {name}",
            ("SET GLOBAL event_scheduler = ON", f"CREATE {by} EVENT e ON SCHEDULE EVERY 1 SECOND DO {_BODY}"),
            patience=2.5,
        ),
    )


LEFT = (
    *_definer("root@'%'", "root"),
    *_definer("os_admin@localhost", "the administrator"),
    Leftover(
        "procedure of the administrator in another SQL mode",
        (
            "GRANT ALL ON *.* TO amy@'%' WITH GRANT OPTION",
            "SET sql_mode = 'ANSI_QUOTES'",
            f"CREATE DEFINER = os_admin@localhost PROCEDURE p() {_BODY}",
        ),
        ("CALL p()", _UP),
    ),
    Leftover(
        "package of the administrator",
        (
            "SET sql_mode = 'ORACLE'",
            "CREATE DEFINER = os_admin@localhost PACKAGE k AS PROCEDURE p; END",
            f"CREATE DEFINER = os_admin@localhost PACKAGE BODY k AS PROCEDURE p AS BEGIN {_LOOT}; END; END",
        ),
        ("SET sql_mode = 'ORACLE'", "CALL k.p()", "CALL app.k.p()"),
    ),
    Leftover(
        "procedure of the engine", (f"CREATE DEFINER = `mariadb.sys`@localhost PROCEDURE p() {_BODY}",), ("CALL p()",)
    ),
    Leftover(
        "event in the engine's database",
        (
            "SET GLOBAL event_scheduler = ON",
            f"CREATE DEFINER = os_admin@localhost EVENT mysql.e ON SCHEDULE EVERY 1 SECOND DO {_BODY}",
        ),
        patience=2.5,
    ),
    Leftover(
        "event that has begun",
        (
            "SET GLOBAL event_scheduler = ON",
            "CREATE TABLE begun (n int)",
            "CREATE EVENT e ON SCHEDULE AT CURRENT_TIMESTAMP DO BEGIN INSERT INTO app.begun VALUES (1); DO SLEEP(4);"
            f" BEGIN {_BODY[6:-4]} END; END",
        ),
        patience=5,
        wait="SELECT 1 FROM begun",
    ),
    Leftover(
        "procedure that has begun",
        (
            "CREATE TABLE begun (n int)",
            f"CREATE PROCEDURE p() BEGIN INSERT INTO app.begun VALUES (1); DO SLEEP(4); BEGIN {_BODY[6:-4]} END; END",
        ),
        patience=5,
        session="CALL p()",
        wait="SELECT 1 FROM begun",
    ),
    *(
        Leftover(f"grant: {what}", (f"GRANT {what} TO amy@'%' WITH GRANT OPTION",), (_LOOT, _UP, "FLUSH PRIVILEGES"))
        for what in (
            "ALL PRIVILEGES ON *.*",
            "SUPER ON *.*",
            "SELECT, UPDATE ON *.*",
            "CREATE USER, SET USER, FILE ON *.*",
            "ALL PRIVILEGES ON mysql.*",
            "ALL PRIVILEGES ON `%`.*",
            "ALL PRIVILEGES ON `m_sq%`.*",
            "SELECT, UPDATE ON mysql.global_priv",
            "SELECT (User), UPDATE (Priv) ON mysql.global_priv",
        )
    ),
    Leftover(
        "a session that was granted", ("GRANT ALL ON *.* TO amy@'%' WITH GRANT OPTION",), session=f"DO SLEEP(60); {_UP}"
    ),
    Leftover(
        "roles",
        (
            "CREATE ROLE r1",
            "CREATE ROLE r2",
            "GRANT ALL ON *.* TO r1 WITH GRANT OPTION",
            "GRANT r1 TO r2",
            "GRANT r2 TO amy@'%' WITH ADMIN OPTION",
            "SET DEFAULT ROLE r2 FOR amy@'%'",
        ),
        (_LOOT, _UP),
    ),
    Leftover("PUBLIC", ("GRANT ALL ON *.* TO PUBLIC", "GRANT ALL ON mysql.* TO PUBLIC"), (_LOOT, _UP)),
    Leftover("nobody's account", ("CREATE USER ''@'%'", "GRANT ALL ON *.* TO ''@'%'"), (_LOOT, _UP)),
    Leftover(
        "proxy",
        (
            "INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor)"
            " VALUES ('%', 'amy', 'localhost', 'os_admin', 1, '')",
            "FLUSH PRIVILEGES",
        ),
    ),
    Leftover(
        "rights that the tables do not show",
        (
            "CREATE TABLE kept AS SELECT * FROM mysql.global_priv WHERE User = 'amy'",
            "GRANT ALL ON *.* TO amy@'%' WITH GRANT OPTION",
            "REPLACE mysql.global_priv SELECT * FROM kept",
        ),
        (_LOOT, _UP),
    ),
    Leftover(
        "accounts that no list shows",
        (
            *tuple(
                f"CREATE USER {name}@'%' IDENTIFIED BY 'mine'" for name in ("os_admin", "mysql", "coffer_definer_1")
            ),
            "CREATE USER root@'127.%' IDENTIFIED BY 'mine'",
            "CREATE ROLE `mariadb.sys`",
            "GRANT ALL ON *.* TO mysql@'%' WITH GRANT OPTION",
        ),
        gone=("os_admin", "mysql", "coffer_definer_1", "root"),
    ),
    Leftover("root renamed", ("RENAME USER root@'%' TO boss@'%'",)),
    Leftover("another server", ("CHANGE MASTER 'x' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'u'",)),
)
POWERFUL = (
    "SELECT User, Host FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.access') > 0"
    " AND User NOT IN ('os_admin', 'mariadb.sys')"
    " UNION ALL SELECT User, Db FROM mysql.db WHERE 'mysql' LIKE Db"
    " UNION ALL SELECT User, Db FROM mysql.tables_priv WHERE Db = 'mysql' AND User <> 'mariadb.sys'"
    " UNION ALL SELECT User, Role FROM mysql.roles_mapping WHERE Role = 'os_admin'"
    " UNION ALL SELECT User, Proxied_user FROM mysql.proxies_priv"
)
# What root made on tenants' data goes on: statements of root's, and then of amy's.
WORK: tuple[tuple[str, ...], tuple[str, ...]] = (
    (
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE PROCEDURE p() INSERT INTO app.t VALUES (2)",
        "CREATE TRIGGER g AFTER DELETE ON t FOR EACH ROW INSERT INTO app.u VALUES (1)",
    ),
    ("INSERT INTO v VALUES (1)", "CALL p()", "DELETE FROM t", "INSERT INTO t SELECT 1 FROM u HAVING count(*) = 2"),
)
