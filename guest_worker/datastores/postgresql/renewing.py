"""What data of an older series lacks on the new one: indexes in the order of today's collations, and statistics."""

from contextlib import suppress
from typing import LiteralString

import psycopg

from contract.domain.errors import EngineFailed
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.postgresql.connecting import HOME, Connection, connect

SECONDS = 30.0  # that a login may take
SETTINGS = {
    "search_path": "pg_catalog,pg_temp",
    "role": "none",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "default_transaction_read_only": "off",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "client_min_messages": "error",
}
# The order of C compares bytes; that of others is a library's, and the libraries of two series may differ in it.
OF_A_LIBRARY = "({provider} = 'i' OR {provider} = 'c' AND {name} !~* '^(C|POSIX)($|\\.)')"
OF_COLLATION = OF_A_LIBRARY.format(provider="c.collprovider", name="c.collcollate")
OF_DATABASE = OF_A_LIBRARY.format(provider="d.datlocprovider", name="d.datcollate")
INDEXES = """
SELECT i.oid FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid AND i.relkind = 'i'
WHERE i.relpersistence <> 't' AND (
  EXISTS (SELECT FROM unnest(x.indcollation) o JOIN pg_collation c ON c.oid = o WHERE OF_COLLATION)
  OR EXISTS (SELECT FROM pg_depend p JOIN pg_collation c ON c.oid = p.refobjid AND p.refclassid = 'pg_collation'::regclass
             WHERE p.classid = 'pg_class'::regclass AND p.objid = i.oid AND OF_COLLATION)
  OR EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database() AND OF_DATABASE
             AND (100 = ANY (x.indcollation) OR x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)))
ORDER BY 1
""".replace("OF_COLLATION", OF_COLLATION).replace("OF_DATABASE", OF_DATABASE)
COLLATIONS = """
SELECT c.oid FROM pg_collation c WHERE c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid) AND c.oid >= 16384
AND c.collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database())) ORDER BY 1
"""
DATABASE = """
SELECT oid FROM pg_database WHERE datname = current_database()
AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
"""
TABLES = "SELECT oid FROM pg_class WHERE relkind IN ('r', 'm', 'p') AND relpersistence <> 't' ORDER BY 1"


def renew(socket: EngineSocket) -> None:
    """Do it in every database; EngineFailed where an index cannot be built."""
    with _inside(socket, HOME) as home:
        names = [str(name) for (name,) in home.execute("SELECT datname FROM pg_database WHERE datallowconn")]
    for name in names:
        with _inside(socket, name, client_encoding="SQL_ASCII") as connection:
            try:
                _do(connection, INDEXES, "REINDEX INDEX %s', {}::regclass")
                _do(connection, COLLATIONS, "ALTER COLLATION %s REFRESH VERSION', {}::regcollation")
                _do(connection, DATABASE, "ALTER DATABASE %I REFRESH COLLATION VERSION', current_database()")
            except psycopg.Error as error:
                raise EngineFailed(
                    f"an index of database {name} cannot be built: {str(error).splitlines()[0]}"
                ) from error
            # a tenant's function in an index may fail: then its table has no statistics yet
            _do(connection, TABLES, "ANALYZE %s', {}::regclass", psycopg.Error)


def _inside(socket: EngineSocket, database: str, **more: str) -> Connection:
    options = " ".join(f"-c {key}={value}" for key, value in SETTINGS.items())
    return connect(socket, database, seconds=SECONDS, options=options, **more)


def _do(connection: Connection, what: LiteralString, statement: LiteralString, *ignored: type[Exception]) -> None:
    """A statement for each; the engine itself writes the names, which may be of any encoding."""
    for (oid,) in connection.execute(what).fetchall():
        with suppress(*ignored):
            done: LiteralString = "DO $$ BEGIN EXECUTE format('" + statement.format(str(int(oid))) + "); END $$"
            connection.execute(done)
