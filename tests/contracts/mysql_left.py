"""What a tenant's root leaves in MySQL. What runs as the administrator, or as the engine's accounts, it cannot make."""

from tests.contracts.tables import Leftover

_UP = "UPDATE mysql.user SET Create_user_priv = 'Y', Update_priv = 'Y' WHERE User = 'amy'"
_LOOT = "INSERT INTO app.loot SELECT User FROM mysql.user"
_TRY = "DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;"
_BODY = f"BEGIN {_TRY} {_LOOT}; {_UP}; GRANT CREATE USER ON *.* TO amy@'%' WITH GRANT OPTION; END"
_QUIET = f"BEGIN {_TRY} {_LOOT}; {_UP}; END"
_BY = "DEFINER = root@'%'"
LEFT = (
    Leftover("procedure", (f"CREATE {_BY} PROCEDURE p() {_BODY}",), ("CALL p()",)),
    Leftover("function", (f"CREATE {_BY} FUNCTION f() RETURNS int {_QUIET[:-3]} RETURN 1; END",), ("SELECT f()",)),
    Leftover(
        "trigger",
        (f"CREATE {_BY} TRIGGER g AFTER INSERT ON t FOR EACH ROW {_QUIET}",),
        ("INSERT INTO t VALUES (1)",),
    ),
    Leftover(
        "view",
        (f"CREATE {_BY} VIEW v AS SELECT User FROM mysql.user",),
        ("INSERT INTO loot SELECT User FROM v", "UPDATE v SET User = 'x' WHERE User = 'bob'"),
    ),
    Leftover("event", (f"CREATE {_BY} EVENT e ON SCHEDULE EVERY 1 SECOND DO {_BODY}",), patience=2.5),
    Leftover(
        "event that has begun",
        (
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
            "SELECT, UPDATE ON *.*",
            "CREATE USER, FILE ON *.*",
            "ROLE_ADMIN, SET_ANY_DEFINER, SYSTEM_VARIABLES_ADMIN ON *.*",
            "ALL PRIVILEGES ON mysql.*",
            "ALL PRIVILEGES ON `%`.*",
            "ALL PRIVILEGES ON `m_sq%`.*",
            "SELECT, UPDATE ON mysql.user",
            "SELECT (User), UPDATE (Create_user_priv) ON mysql.user",
        )
    ),
    Leftover(
        "a right that root has not",
        ("INSERT INTO mysql.global_grants VALUES ('amy', '%', 'SYSTEM_USER', 'Y')", "FLUSH PRIVILEGES"),
    ),
    Leftover(
        "a session that was granted",
        ("GRANT SELECT, UPDATE ON *.* TO amy@'%' WITH GRANT OPTION",),
        session=f"DO SLEEP(60); {_UP}",
    ),
    Leftover(
        "roles",
        (
            "CREATE ROLE r1, r2",
            "GRANT SELECT, UPDATE ON *.* TO r1 WITH GRANT OPTION",
            "GRANT r1 TO r2",
            "GRANT r2 TO amy@'%' WITH ADMIN OPTION",
            "SET DEFAULT ROLE r2 TO amy@'%'",
        ),
        (_LOOT, _UP),
    ),
    Leftover(
        "roles of everybody",
        ("CREATE ROLE r1", "GRANT SELECT, UPDATE ON *.* TO r1", "SET GLOBAL mandatory_roles = 'r1'"),
        (_LOOT, _UP),
    ),
    Leftover("nobody's account", ("CREATE USER ''@'%'", "GRANT SELECT, UPDATE ON *.* TO ''@'%'"), (_LOOT, _UP)),
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
            "GRANT SELECT, UPDATE ON *.* TO amy@'%'",
            "UPDATE mysql.user SET Select_priv = 'N', Update_priv = 'N' WHERE User = 'amy'",
        ),
        (_LOOT, _UP),
    ),
    Leftover(
        "accounts that no list shows",
        (
            *tuple(
                f"CREATE USER `{name}`@'%' IDENTIFIED BY 'mine'"
                for name in ("os_admin", "mysql", "coffer_definer_1", "mysql.sys")
            ),
            "CREATE USER root@'127.%' IDENTIFIED BY 'mine'",
            "GRANT SELECT, UPDATE ON *.* TO mysql@'%' WITH GRANT OPTION",
        ),
        gone=("os_admin", "mysql", "coffer_definer_1", "mysql.sys", "root"),
    ),
    Leftover("root renamed", ("RENAME USER root@'%' TO boss@'%'",)),
    Leftover(
        "another server",
        ("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, SOURCE_USER = 'u'",),
    ),
)
_OWN = "('os_admin', 'mysql.sys', 'mysql.session', 'mysql.infoschema')"
POWERFUL = (
    "SELECT User, Host FROM mysql.user WHERE 'Y' IN (Select_priv, Update_priv, Super_priv, Create_user_priv, Grant_priv)"
    f" AND User NOT IN {_OWN}"
    f" UNION ALL SELECT USER, PRIV FROM mysql.global_grants WHERE USER NOT IN {_OWN}"
    " AND NOT (USER = 'root' AND HOST = 'localhost')"
    " UNION ALL SELECT User, Db FROM mysql.db WHERE 'mysql' LIKE Db"
    f" UNION ALL SELECT User, Db FROM mysql.tables_priv WHERE Db = 'mysql' AND User NOT IN {_OWN}"
    " UNION ALL SELECT TO_USER, FROM_USER FROM mysql.role_edges WHERE FROM_USER = 'os_admin'"
    " UNION ALL SELECT User, Proxied_user FROM mysql.proxies_priv"
)
