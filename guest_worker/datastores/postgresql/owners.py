"""Owning roles: each database of a tenant belongs to a role of its own, which nobody logs in as and which has no powers.

Users who were granted a database are members of its owning role and act as it from the start of a session, so that what
one makes belongs to all. What a deleted user made goes to it as well, never to the administrator: whatever is owned by
somebody runs with its owner's rights.
"""

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from contract.domain.datastores.postgresql import DELETED_PREFIX, OWNER_PREFIX, POSTGRESQL
from contract.domain.errors import Busy, EngineFailed, NotFound
from guest_worker.datastores.postgresql import objects
from guest_worker.datastores.postgresql.connecting import ADMIN, HOME
from guest_worker.datastores.postgresql.session import Change, Session

LOG = logging.getLogger(__name__)
ROOT = "root"
OURS = (HOME, "template1")  # databases of the engine that take connections
TIDY_SECONDS = 4.0
TIDY_LOCK_SECONDS = 0.5  # leftovers wait for another call rather than make this one slow
FAILURES = (Busy, EngineFailed, NotFound, psycopg.Error)


class Owners:
    """The owning roles of an engine's databases."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, database: str) -> str | None:
        """The owning role of a database; None when it has none, or does not exist."""
        rows = self._session.rows(
            "SELECT r.rolname FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba "
            "WHERE d.datname = %s AND starts_with(r.rolname, %s)",
            (database, OWNER_PREFIX),
        )
        return str(rows[0][0]) if rows else None

    def of(self, database: str) -> str:
        """The owning role of a database. One that was made without (by root, or an older guest) gets one."""
        return self.find(database) or self._adopt(database)

    def create(self) -> str:
        """A new role, for a database that is about to be made."""
        name = OWNER_PREFIX + secrets.token_hex(8)
        with self._session.change() as do:
            do(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        return name

    @contextmanager
    def inside(self, database: str) -> Iterator[Change]:
        """One transaction inside a database, in which no event trigger of a tenant fires.

        A database that takes no connections takes ours, and no others.
        """
        allowed = self._session.rows("SELECT datallowconn FROM pg_database WHERE datname = %s", (database,))
        if not allowed:
            raise NotFound(f"Database {database} cannot be found on the instance.")
        closed = not allowed[0][0]
        if closed:
            self.allow(database, True)
        try:
            with self._session.inside(database) as do:
                if closed:
                    self.allow(database, False)
                    closed = False
                with do.together(), objects.without_event_triggers(do):
                    yield do
        finally:
            if closed:
                self.allow(database, False)

    def roll_back(self, database: str, prepared: Sequence[str]) -> None:
        """End prepared transactions. No transaction can do that, so event triggers are not disabled; none fires for it."""
        if prepared:
            with self._session.inside(database) as do:
                for gid in prepared:
                    do(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))

    def allow(self, database: str, allowed: bool) -> None:
        """Whether a database takes new connections."""
        word = sql.SQL("true" if allowed else "false")
        with self._session.change() as do:
            do(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), word))

    # -- databases without an owning role ------------------------------------------------------------------------------

    def adopt_all(self) -> bool:
        """Give each database that is the administrator's an owning role; what is locked or takes long waits for later.

        Whether none is left.
        """
        self._close_to_strangers()
        rows = self._session.rows(
            "SELECT datname FROM pg_database WHERE datdba = %s::regrole AND datname <> ALL(%s) ORDER BY 1",
            (ADMIN, list(POSTGRESQL.reserved_databases)),
        )
        left = 0
        for (database,) in rows:
            try:
                self._adopt(database)
            except FAILURES as error:
                left += 1
                LOG.warning("database %s keeps its owner for now: %s", database, error)
        return left == 0

    def _close_to_strangers(self) -> None:
        """Only the administrator and root may connect to the engine's own databases."""
        rows = self._session.rows(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s) AND "
            "(datacl IS NULL OR EXISTS (SELECT FROM aclexplode(datacl) a WHERE a.grantee = 0))",
            (list(OURS),),
        )
        for (database,) in rows:
            with self._session.change() as do:
                do(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))

    def _adopt(self, database: str) -> str:
        """In one transaction: an owning role, grants as memberships, and what users and administrator own there."""
        owner = OWNER_PREFIX + secrets.token_hex(8)
        granted = [oid for (oid,) in self._session.rows(GRANTED, (database,))]
        with self.inside(database) as do:
            former = do("SELECT datdba FROM pg_database WHERE datname = current_database()")[0][0]
            name = objects.this_database(do)
            do(b"CREATE ROLE %b NOLOGIN" % owner.encode())
            do(b"ALTER DATABASE %b OWNER TO %b" % (name, owner.encode()))
            do(b"REVOKE ALL ON DATABASE %b FROM PUBLIC" % name)
            for oid in granted:
                admit(do, objects.role(do, oid), name, owner)
            objects.hand_over(do, {former, *granted}, owner)
            objects.hand_over_of_administrator(do, owner)
            self._share_of_root(do, owner)
        return owner

    # -- root ----------------------------------------------------------------------------------------------------------

    def share_of_root(self, database: str) -> None:
        """What root will make in a database can be used by those who were granted it."""
        owner = self.of(database)
        with self.inside(database) as do:
            self._share_of_root(do, owner)

    def _share_of_root(self, do: Change, owner: str) -> None:
        if do("SELECT 1 FROM pg_authid WHERE rolname = %s AND rolcanlogin", (ROOT,)):
            for kind in (b"TABLES", b"SEQUENCES", b"FUNCTIONS", b"TYPES", b"SCHEMAS"):
                do(b"ALTER DEFAULT PRIVILEGES FOR ROLE root GRANT ALL ON %b TO %b" % (kind, owner.encode()))

    # -- what is left of deleted users and databases ---------------------------------------------------------------------

    def tidy(self) -> None:
        """Hand over what deleted users own, and drop them; what is locked or takes long waits for the next time."""
        with self._session.call(TIDY_SECONDS, TIDY_LOCK_SECONDS):
            try:
                left = self._session.rows(LEFT, {"deleted": DELETED_PREFIX, "owner": OWNER_PREFIX, "root": ROOT})
                for role, drop in left:
                    self._tidy_role(role, drop)
                self.drop_invalid()
            except FAILURES as error:
                LOG.warning("what deleted users and databases left is still there: %s", error)

    def _tidy_role(self, role: int, drop: bool) -> None:
        try:
            self._clear(role, drop)
        except FAILURES as error:
            LOG.warning("role %s still has something: %s", role, error)

    def invalid(self, name: str | None = None) -> list[str]:
        """Databases, or that one, whose drop has begun: PostgreSQL marks them, and lets nobody in any more."""
        statement = "SELECT datname FROM pg_database WHERE datconnlimit = -2 AND datname = coalesce(%s, datname)"
        return [name for (name,) in self._session.look(statement, (name,))]

    def drop_invalid(self, name: str | None = None) -> None:
        """Drop those databases. A drop waits for a checkpoint; where that takes long it is left to go on, unless the name is
        needed now.
        """
        for database in self.invalid(name):
            with self._session.change() as do:
                do(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)), to_the_end=name is None)

    def _clear(self, oid: int, drop: bool) -> None:
        for (database,) in self._session.rows("SELECT datname FROM pg_database WHERE datdba = %s", (oid,)):
            self._adopt(database)
        for (database,) in self._session.rows(PLACES, (oid, list(OURS) if not drop else [])):
            self._clear_in(database, oid, drop)
        if drop:
            with self._session.change() as do:
                name = objects.role(do, oid)
                if do("SELECT 1 FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = %s", (oid,)):
                    do(b"DROP OWNED BY %b" % name)
                do(b"DROP ROLE %b" % name)

    def _clear_in(self, database: str, oid: int, drop: bool) -> None:
        owner = None if database in OURS else self.of(database)
        with self.inside(database) as do:
            if owner is not None:
                objects.hand_over(do, {oid}, owner)
            if drop:
                do(b"DROP OWNED BY %b CASCADE" % objects.role(do, oid))


def admit(do: Change, user: bytes, database: bytes, owner: str) -> None:
    """Make a user a member of a database's owning role, as which it acts there. Names are quoted.

    It inherits nothing: whoever gives the owning role up within a session can make nothing that the others cannot use.
    """
    do(b"ALTER ROLE %b NOINHERIT" % user)
    do(b"GRANT %b TO %b" % (owner.encode(), user))
    do(b"GRANT CONNECT ON DATABASE %b TO %b" % (database, user))
    do(b"ALTER ROLE %b IN DATABASE %b SET role TO %b" % (user, database, owner.encode()))


def dismiss(do: Change, oid: int, database: bytes, owner: str) -> None:
    """Take a database away from a user, however it was granted; from PUBLIC, too."""
    user = objects.role(do, oid)
    _leave(do, owner.encode(), user)
    do(b"ALTER ROLE %b IN DATABASE %b RESET role" % (user, database))
    do(b"REVOKE ALL ON DATABASE %b FROM %b, PUBLIC CASCADE" % (database, user))
    for (grantor,) in do(GRANTORS, (oid, owner)):
        do(b"SET ROLE %b" % grantor)
        do(b"REVOKE ALL ON DATABASE %b FROM %b CASCADE" % (database, user))
        do(b"SET ROLE NONE")
    for (other,) in do(WAYS, {"user": oid, "owner": owner}):
        _leave(do, other, user)


def _leave(do: Change, role: bytes, user: bytes) -> None:
    """End a membership, whoever gave it: from 16 on each who may give it gives one of its own."""
    do(b"REVOKE %b FROM %b CASCADE" % (role, user))
    for (grantor,) in do(GIVERS, (role, user)):
        do(b"REVOKE %b FROM %b GRANTED BY %b CASCADE" % (role, user, grantor))


# users who may connect by a grant of their own
GRANTED = """
SELECT DISTINCT r.oid FROM pg_database d, aclexplode(d.datacl) a JOIN pg_authid r ON r.oid = a.grantee
WHERE d.datname = %s AND a.privilege_type = 'CONNECT' AND r.rolcanlogin AND NOT r.rolsuper AND r.oid <> d.datdba
"""
# deleted users, owning roles of databases that are gone, and root after it was disabled: with whether to drop them
LEFT = """
SELECT r.oid, r.rolname <> %(root)s FROM pg_authid r
WHERE starts_with(r.rolname, %(deleted)s) OR (r.rolname = %(root)s AND NOT r.rolcanlogin)
   OR (starts_with(r.rolname, %(owner)s) AND NOT EXISTS (SELECT FROM pg_database d WHERE d.datdba = r.oid))
ORDER BY 1
"""
PLACES = """
SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s AND d.datname <> ALL(%s) ORDER BY 1
"""
GRANTORS = """
SELECT DISTINCT convert_to(quote_ident(g.rolname), 'SQL_ASCII') FROM pg_database d, aclexplode(d.datacl) a
JOIN pg_authid g ON g.oid = a.grantor
WHERE a.grantee = %s AND d.datdba = (SELECT oid FROM pg_authid WHERE rolname = %s) AND a.grantor <> d.datdba
"""
GIVERS = """
SELECT convert_to(quote_ident(g.rolname), 'SQL_ASCII') FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.grantor
JOIN pg_authid r ON r.oid = m.roleid JOIN pg_authid u ON u.oid = m.member
WHERE convert_to(quote_ident(r.rolname), 'SQL_ASCII') = %s AND convert_to(quote_ident(u.rolname), 'SQL_ASCII') = %s
"""
# roles that a user is a member of and through which it would still get in
WAYS = """
SELECT convert_to(quote_ident(r.rolname), 'SQL_ASCII') FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.roleid,
       pg_database d JOIN pg_authid o ON o.oid = d.datdba
WHERE m.member = %(user)s AND o.rolname = %(owner)s
  AND (has_database_privilege(r.oid, d.oid, 'CONNECT') OR pg_has_role(r.oid, o.oid, 'MEMBER'))
"""
