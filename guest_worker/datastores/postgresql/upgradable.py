"""What of the data another series does not take: asked while the engine serves, in the words of `pg_upgrade`'s own checks.

`pg_upgrade` looks again, and is the judge. This is so that a database is not stopped for nothing.
"""

from collections.abc import Iterator
from typing import LiteralString

from guest_worker.datastores.postgresql.session import Session

SHOWN = 5  # names in a sentence
# What each series does not know any more that the one before did.
SETTINGS_GONE = {
    "17": ("db_user_namespace", "force_parallel_mode", "old_snapshot_threshold", "promote_trigger_file",
           "trace_recovery_messages", "vacuum_defer_cleanup_age"),
}  # fmt: skip
EXTENSIONS_GONE = {"17": ("adminpack", "old_snapshot")}
# Types whose values hold numbers that are others in the new data, or that are stored in another way from 16 on.
TYPES = ("aclitem", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator", "regproc",
         "regprocedure")  # fmt: skip
OF_ALL: tuple[tuple[str, LiteralString], ...] = (
    ("prepared transactions are open (pg_prepared_xacts)", "SELECT gid FROM pg_prepared_xacts"),
    ("tablespaces lie outside of the data directory", "SELECT spcname FROM pg_tablespace WHERE oid >= 16384"),
    ("databases let nobody in", "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'"),
    ("the database template1 is missing",
     "SELECT 'template1' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'template1')"),
)  # fmt: skip
SETTINGS: LiteralString = """
SELECT DISTINCT name FROM pg_file_settings WHERE name = ANY(%(gone)s)
UNION SELECT DISTINCT split_part(setting, '=', 1) FROM pg_db_role_setting, unnest(setconfig) setting
WHERE split_part(setting, '=', 1) = ANY(%(gone)s)
"""
EXTENSIONS: LiteralString = "SELECT extname FROM pg_extension WHERE extname = ANY(%(gone)s)"
COLUMNS: LiteralString = """
WITH RECURSIVE found AS (
  SELECT oid FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typname = ANY(%(gone)s)
  UNION SELECT * FROM (
    WITH known AS (SELECT oid FROM found)
    SELECT t.oid FROM pg_type t JOIN known k
      ON t.typtype = 'd' AND t.typbasetype = k.oid OR t.typtype = 'b' AND t.typelem = k.oid
    UNION ALL SELECT c.reltype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
      JOIN known k ON a.atttypid = k.oid WHERE c.reltype <> 0
    UNION ALL SELECT r.rngtypid FROM pg_range r JOIN known k ON r.rngsubtype = k.oid) more)
SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
JOIN found f ON a.atttypid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'i') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


def hindrances(session: Session, version: str) -> Iterator[str]:
    """A sentence for each thing."""
    for what, question in OF_ALL:
        yield from _told(what, session.rows(question))
    gone = {"gone": list(SETTINGS_GONE.get(version, ()))}
    yield from _told(f"settings are unknown to {version}", session.rows(SETTINGS, gone))
    for (name,) in session.rows("SELECT datname FROM pg_database WHERE datallowconn"):
        with session.inside(str(name)) as ask:
            gone = {"gone": list(EXTENSIONS_GONE.get(version, ()))}
            yield from _told(f"database {name} has extensions that {version} has not", ask(EXTENSIONS, gone))
            columns = ask(COLUMNS, {"gone": list(TYPES)})
            yield from _told(f"database {name} has columns of types that cannot be taken along", columns)


def _told(what: str, rows: list[tuple[object, ...]]) -> Iterator[str]:
    names = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for (each,) in rows]
    if names:
        yield f"{what}: {', '.join(names[:SHOWN])}{', …' if names[SHOWN:] else ''}"
