"""What is taken from everybody when root is disabled: whatever reaches beyond tenants' databases.

Root may have made other superusers, given rights on the engine's own functions, and made things the administrator's. So
afterwards no role but the administrator's has an attribute or a membership of that kind, and nothing in a tenant's database
belongs to the administrator.
"""

from guest_worker.datastores.postgresql import objects
from guest_worker.datastores.postgresql.session import Change, Session

# Settings of ALTER SYSTEM that name programs or libraries, or other servers.
RUNNING = r"_command$|_libraries$|_library$|_library_path$|^primary_conninfo$|^allow_system_table_mods$"
POWERS = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"


class Confinement:
    """Takes rights back, all over the engine and then in each database."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def is_needed(self) -> bool:
        """Whether anybody but the administrator has an attribute that reaches beyond databases."""
        return bool(self._session.rows(POWERFUL))

    def confine(self, do: Change) -> list[int]:
        """In a transaction: no role has more than tenants' databases. Returns the roles whose sessions must end."""
        powerful = [oid for (oid,) in do(POWERFUL)]
        memberships = do(MEMBERSHIPS)
        do(b"UPDATE pg_authid SET rolsuper = false, rolcreaterole = false, rolcreatedb = false, rolreplication = false,"
           b" rolbypassrls = false WHERE oid <> 10 AND (%b)" % POWERS.encode())  # fmt: skip
        for role, member, _ in memberships:
            do(b"REVOKE %b FROM %b CASCADE" % (role, member))
        for kind, name, grantee in do(GIVEN):
            do(b"REVOKE ALL ON %b %b FROM %b CASCADE" % (kind, name, grantee))
        do(SETTINGS)
        do("DELETE FROM pg_db_role_setting WHERE setconfig = '{}'")
        do(
            "UPDATE pg_subscription SET subowner = (SELECT oid FROM pg_authid WHERE rolname = 'root') WHERE subowner = 10"
        )
        return sorted({*powerful, *(oid for _, _, oid in memberships)})

    def forget_settings(self, do: Change) -> None:
        """What was set with ALTER SYSTEM and names a program or a library; outside of a transaction."""
        rows = do("SELECT DISTINCT name FROM pg_file_settings WHERE sourcefile LIKE '%%postgresql.auto.conf' AND name ~ %s",
                  (RUNNING,))  # fmt: skip
        for (name,) in rows:
            do(b'ALTER SYSTEM RESET "%b"' % name.encode())
        if rows:
            do("SELECT pg_reload_conf()")

    def confine_inside(self, do: Change, owner: str | None) -> None:
        """In a transaction inside a database that this role owns, or in one of the engine's own."""
        for statement in AS_MADE:
            do(statement)
        if owner is not None:
            objects.hand_over_of_administrator(do, owner)

    def prepared(self) -> list[tuple[str, str]]:
        """Transactions that were prepared by those who have power: name and database."""
        return [(str(gid), str(database)) for gid, database in self._session.rows(PREPARED)]


POWERFUL = """
SELECT oid FROM pg_authid WHERE oid <> 10 AND (rolname = 'root' AND rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb
                                               OR rolreplication OR rolbypassrls)
"""
PREPARED = """
SELECT p.gid, p.database FROM pg_prepared_xacts p LEFT JOIN pg_authid r ON r.rolname = p.owner
WHERE r.oid IS NULL OR r.rolname = 'root' OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
"""
# in the administrator, in root, and of tenants' roles in the engine's own
MEMBERSHIPS = """
SELECT convert_to(quote_ident(r.rolname), 'SQL_ASCII'), convert_to(quote_ident(u.rolname), 'SQL_ASCII'), u.oid
FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.roleid JOIN pg_authid u ON u.oid = m.member
WHERE r.oid = 10 OR r.rolname = 'root' OR (r.oid < 16384 AND u.oid >= 16384)
"""
# rights on settings, and on databases of the engine
GIVEN = """
SELECT 'PARAMETER'::text::bytea, convert_to(quote_ident(p.parname), 'SQL_ASCII'),
       coalesce(convert_to(quote_ident(r.rolname), 'SQL_ASCII'), 'PUBLIC')
FROM pg_parameter_acl p, aclexplode(p.paracl) a LEFT JOIN pg_authid r ON r.oid = a.grantee WHERE a.grantee <> 10
UNION SELECT 'DATABASE', convert_to(quote_ident(d.datname), 'SQL_ASCII'),
       coalesce(convert_to(quote_ident(r.rolname), 'SQL_ASCII'), 'PUBLIC')
FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_authid r ON r.oid = a.grantee
WHERE d.datname IN ('postgres', 'template1') AND a.grantee <> 10
"""
# settings of roles and databases that only a superuser may make
SETTINGS = """
UPDATE pg_db_role_setting s SET setconfig = ARRAY(
    SELECT c FROM unnest(s.setconfig) WITH ORDINALITY u(c, n) WHERE NOT EXISTS (
        SELECT FROM pg_settings g WHERE g.name = split_part(c, '=', 1) AND g.context IN ('superuser', 'superuser-backend'))
    ORDER BY n)
"""
# The engine's own functions, tables and languages as the engine made them; rights on what extensions brought, as those did.
AS_MADE = (
    """
    UPDATE pg_proc p SET proacl = i.initprivs FROM pg_init_privs i
    WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND p.proacl IS DISTINCT FROM i.initprivs
    """,
    """
    UPDATE pg_proc p SET proacl = NULL WHERE oid < 16384 AND proacl IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid)
    """,
    "UPDATE pg_proc SET prosecdef = false WHERE oid < 16384 AND prosecdef",
    """
    UPDATE pg_class c SET relacl = i.initprivs FROM pg_init_privs i
    WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0 AND c.oid < 16384
      AND c.relacl IS DISTINCT FROM i.initprivs
    """,
    """
    UPDATE pg_class c SET relacl = NULL WHERE oid < 16384 AND relacl IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0)
    """,
    """
    UPDATE pg_attribute a SET attacl = NULL WHERE attrelid < 16384 AND attacl IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_class'::regclass AND i.objoid = a.attrelid AND i.objsubid = a.attnum)
    """,
    """
    UPDATE pg_language SET lanpltrusted = lanname IN ('sql', 'plpgsql')
    WHERE lanpltrusted <> (lanname IN ('sql', 'plpgsql'))
    """,
    # what an extension keeps from users is as the engine's own: whoever owns a function may grant it
    """
    UPDATE pg_proc p SET proowner = 10, proacl = ARRAY[makeaclitem(10, 10, 'EXECUTE', false)]
    FROM pg_init_privs i, pg_language l WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND l.oid = p.prolang
      AND p.oid >= 16384 AND NOT l.lanpltrusted
    """,
    """
    DELETE FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = 'pg_proc'::regclass AND objid IN (SELECT oid FROM pg_proc WHERE proowner = 10)
    """,
    # functions that tenants' users could not have made: they go on to be there, and say why they do nothing
    """
    UPDATE pg_proc p SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql'), probin = NULL, prosqlbody = NULL,
        prosrc = $$BEGIN RAISE EXCEPTION 'made by root, which was disabled'; END$$
    WHERE p.oid >= 16384 AND p.prolang IN (SELECT oid FROM pg_language WHERE NOT lanpltrusted)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    """,
    # foreign tables may run programs and read files; whoever is root again can put the handler back
    """
    UPDATE pg_foreign_data_wrapper SET fdwhandler = 0
    WHERE fdwhandler IN (SELECT oid FROM pg_proc WHERE probin LIKE '%%file_fdw%%')
    """,
)
