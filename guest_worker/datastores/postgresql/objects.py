"""What is in a database, and whose it is. All of it inside that database, in a transaction of the caller.

Names are quoted by the engine and travel as bytes: roles are named in the encoding of the database that they were made
from, which need not be the encoding of this one.
"""

from collections.abc import Iterator, Set
from contextlib import contextmanager

from guest_worker.datastores.postgresql.session import Change

ADMIN_OID = 10  # the role that the engine was initialised with
FIRST_OID = 16384  # what has a lower number came with the engine
STATES = {"O": b"ENABLE", "R": b"ENABLE REPLICA", "A": b"ENABLE ALWAYS"}

# What has an owner: catalog and column.
OWNED = {
    "pg_class": "relowner",
    "pg_proc": "proowner",
    "pg_namespace": "nspowner",
    "pg_type": "typowner",
    "pg_operator": "oprowner",
    "pg_opclass": "opcowner",
    "pg_opfamily": "opfowner",
    "pg_collation": "collowner",
    "pg_conversion": "conowner",
    "pg_ts_dict": "dictowner",
    "pg_ts_config": "cfgowner",
    "pg_statistic_ext": "stxowner",
    "pg_foreign_server": "srvowner",
    "pg_foreign_data_wrapper": "fdwowner",
    "pg_largeobject_metadata": "lomowner",
    "pg_publication": "pubowner",
    "pg_event_trigger": "evtowner",
}
KEYWORDS = {b"statistics object": b"STATISTICS", b"foreign-data wrapper": b"FOREIGN DATA WRAPPER"}
# What may be granted: catalog, column, and the word for REVOKE.
GRANTED = {
    "pg_class": ("relacl", "CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"),
    "pg_proc": ("proacl", "'ROUTINE'"),
    "pg_namespace": ("nspacl", "'SCHEMA'"),
    "pg_type": ("typacl", "'TYPE'"),
    "pg_largeobject_metadata": ("lomacl", "'LARGE OBJECT'"),
}


def role(do: Change, oid: int) -> bytes:
    """A role's name, quoted."""
    found: bytes = do("SELECT convert_to(quote_ident(rolname), 'SQL_ASCII') FROM pg_authid WHERE oid = %s", (oid,))[0][
        0
    ]
    return found


def this_database(do: Change) -> bytes:
    """This database's name, quoted."""
    found: bytes = do("SELECT convert_to(quote_ident(current_database()), 'SQL_ASCII')")[0][0]
    return found


@contextmanager
def without_event_triggers(do: Change) -> Iterator[None]:
    """Let none of a tenant's event triggers fire for the administrator; for everybody else they go on."""
    found = do(
        "SELECT oid, ascii(evtenabled::text), convert_to(quote_ident(evtname), 'SQL_ASCII') FROM pg_event_trigger "
        "WHERE evtenabled <> 'D'"
    )
    for _, _, name in found:
        do(b"ALTER EVENT TRIGGER %b DISABLE" % name)
    yield
    there = {oid for (oid,) in do("SELECT oid FROM pg_event_trigger")} if found else set()
    for oid, state, name in found:
        if oid in there:
            do(b"ALTER EVENT TRIGGER %b %b" % (name, STATES[chr(state)]))


def hand_over(do: Change, people: Set[int], owner: str) -> None:
    """What these roles own in this database becomes the owning role's; their other databases stay theirs."""
    names = [role(do, oid) for oid in sorted(people - {ADMIN_OID})]
    if not names:
        return
    others = do(
        "SELECT convert_to(quote_ident(d.datname), 'SQL_ASCII'), convert_to(quote_ident(r.rolname), 'SQL_ASCII') "
        "FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba WHERE d.datdba = ANY(%s) AND d.datname <> current_database()",
        (sorted(people),),
    )
    for database, _ in others:
        do(b"ALTER DATABASE %b OWNER TO os_admin" % database)
    with _powerful(do, owner):
        do(b"REASSIGN OWNED BY %b TO %b" % (b", ".join(names), owner.encode()))
    for database, former in others:
        do(b"ALTER DATABASE %b OWNER TO %b" % (database, former))


def hand_over_of_administrator(do: Change, owner: str) -> None:
    """What older guests had made the administrator's. (PostgreSQL reassigns nothing of its first role.)"""
    found = [each for catalog, column in OWNED.items() for each in _of_administrator(do, catalog, column)]
    with _powerful(do, owner):
        for kind, identity in found:
            do(b"ALTER %b %b OWNER TO %b" % (KEYWORDS.get(kind, kind.upper()), identity, owner.encode()))
        # there is no statement for an extension
        do(
            b"UPDATE pg_extension SET extowner = '%b'::regrole WHERE extowner = %d AND oid >= %d"
            % (owner.encode(), ADMIN_OID, FIRST_OID)
        )
        do(
            b"INSERT INTO pg_shdepend SELECT d.oid, 'pg_extension'::regclass, e.oid, 0, 'pg_authid'::regclass, e.extowner,"
            b" 'o' FROM pg_extension e, pg_database d WHERE d.datname = current_database() AND e.extowner = '%b'::regrole"
            b" AND NOT EXISTS (SELECT FROM pg_shdepend s WHERE s.dbid = d.oid AND s.classid = 'pg_extension'::regclass"
            b" AND s.objid = e.oid AND s.deptype = 'o')" % owner.encode()
        )


def _of_administrator(do: Change, catalog: str, column: str) -> list[tuple[bytes, bytes]]:
    """Kind and name of what is the administrator's, but for parts of extensions, of types, and of tables."""
    name = catalog.encode()
    relations = b"AND o.relkind = ANY('{r,p,v,m,f,S}')" if catalog == "pg_class" else b""
    of_a_column = b"OR (d.deptype = 'a' AND o.relkind = 'S')" if catalog == "pg_class" else b""
    rows = do(
        b"SELECT convert_to(obj.type, 'SQL_ASCII'), convert_to(obj.identity, 'SQL_ASCII') FROM %b o,"
        b" LATERAL pg_identify_object('%b'::regclass, o.oid, 0) obj WHERE o.%b = %d AND o.oid >= %d %b"
        b" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '%b'::regclass AND d.objid = o.oid AND d.objsubid = 0"
        b" AND d.refobjid <> o.oid AND (d.deptype IN ('e', 'i') %b)) ORDER BY o.oid"
        % (name, name, column.encode(), ADMIN_OID, FIRST_OID, relations, name, of_a_column)
    )
    return [(kind, identity) for kind, identity in rows]


@contextmanager
def _powerful(do: Change, owner: str) -> Iterator[None]:
    """Let the owning role take what only superusers may own, such as event triggers.

    Nobody sees it as a superuser, since the transaction takes that back before it ends; and no code of tenants runs in it.
    """
    do(b"ALTER ROLE %b SUPERUSER" % owner.encode())
    yield
    do(b"ALTER ROLE %b NOSUPERUSER" % owner.encode())


def withdraw(do: Change, oid: int) -> None:
    """Take from a role, which owns nothing here, all grants in this database, whoever gave them; others elsewhere stay."""
    name = role(do, oid)
    elsewhere = do(
        "SELECT convert_to(quote_ident(d.datname), 'SQL_ASCII'), convert_to(a.privilege_type, 'SQL_ASCII'), a.is_grantable "
        "FROM pg_database d, aclexplode(d.datacl) a WHERE a.grantee = %s AND a.grantor = d.datdba",
        (oid,),
    )
    do(b"DROP OWNED BY %b" % name)
    for database, privilege, option in elsewhere:
        do(b"GRANT %b ON DATABASE %b TO %b%b" % (privilege, database, name, b" WITH GRANT OPTION" if option else b""))
    for kind, identity, grantor in _granted_by_others(do, oid):
        do(b"SET ROLE %b" % grantor)
        do(b"REVOKE ALL ON %b %b FROM %b CASCADE" % (kind, identity, name))
        do(b"SET ROLE NONE")


def _granted_by_others(do: Change, oid: int) -> list[tuple[bytes, bytes, bytes]]:
    """What DROP OWNED leaves: kind and name of what was granted by somebody with a grant option, and by whom."""
    form = (
        b"SELECT convert_to(%b, 'SQL_ASCII'), convert_to(obj.identity, 'SQL_ASCII'),"
        b" convert_to(quote_ident(g.rolname), 'SQL_ASCII') FROM %b, aclexplode(%b) a JOIN pg_authid g ON g.oid = a.grantor,"
        b" LATERAL pg_identify_object('%b'::regclass, o.oid, 0) obj WHERE a.grantee = %d"
    )
    parts = [
        form % (word.encode(), catalog.encode() + b" o", b"o." + column.encode(), catalog.encode(), oid)
        for catalog, (column, word) in GRANTED.items()
    ]
    columns = b"pg_class o JOIN pg_attribute c ON c.attrelid = o.oid"
    parts.append(form % (b"'TABLE'", columns, b"c.attacl", b"pg_class", oid))
    return [(kind, identity, by) for kind, identity, by in do(b" UNION ".join(parts))]
