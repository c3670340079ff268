"""Writes what one version of PostgreSQL takes into the file that the control plane reads.

`python -m guest_worker.datastores.postgresql.facts [PREFIX]` makes a database server of its own in a temporary folder and tries
every encoding with every locale: to be run where that version is installed, in the folder `PREFIX` if not in the system's, on
the system of the guests' image, and not as root.
"""

import json
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from contract.domain.datastores.postgresql import DATA
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.postgresql.driver import PostgreSQL
from guest_worker.datastores.postgresql.session import Session

# Names of encodings beside those that the engine shows, as its manual has them; the engine says which it knows.
ALIASES = (
    "abc alt iso88591 iso885910 iso885913 iso885914 iso885915 iso885916 iso88592 iso88593 iso88594 iso88599 koi8 tcvn tcvn5712 "
    "unicode vscii win windows1250 windows1251 windows1252 windows1253 windows1254 windows1255 windows1256 windows1257 "
    "windows1258 windows866 windows874"
).split()


def encodings(session: Session) -> dict[str, str]:
    """Every name of an encoding, in lower case without punctuation, with the name that the engine shows."""
    shown = [
        str(name) for (name,) in session.rows("SELECT pg_encoding_to_char(i) FROM generate_series(0, 60) i") if name
    ]
    names = {"".join(filter(str.isalnum, name)).lower() for name in shown} | set(ALIASES)
    found = session.rows(
        "SELECT n, pg_encoding_to_char(pg_char_to_encoding(n)) FROM unnest(%s::text[]) n WHERE pg_char_to_encoding(n) >= 0",
        (sorted(names),),
    )
    return dict(sorted(found))


def locales(session: Session, names: set[str]) -> dict[str, list[str]]:
    """The locales of the system, each with the encodings that the engine takes with it."""
    rows = session.rows("SELECT DISTINCT collcollate FROM pg_collation WHERE collprovider = 'c'")
    return {
        locale: [name for name in sorted(names) if takes(session, name, locale)]
        for locale in sorted({str(name) for (name,) in rows})
    }


def takes(session: Session, encoding: str, locale: str) -> bool:
    """Whether a database can be made so."""
    form = sql.SQL("CREATE DATABASE facts TEMPLATE template0 ENCODING {} LOCALE {}")
    try:
        with session.change() as do:
            do(form.format(sql.Literal(encoding), sql.Literal(locale)))
            do("DROP DATABASE facts")
    except psycopg.Error:
        return False
    return True


def main(prefix: str = "") -> None:
    """Write the file of the version that is installed."""
    with tempfile.TemporaryDirectory(prefix="coffer-facts-") as folder:
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        context = EngineContext(data, Path(folder) / "state", bind_address="127.0.0.1", prefix=prefix)
        engine = PostgreSQL(context)
        engine.initialise()
        engine.configure(256, {"listen_addresses": "", "fsync": "off"})
        engine.start()
        session = engine.session
        try:
            known = encodings(session)
            taken = locales(session, set(known.values()))
            version = engine.version()
        finally:
            session.close()
            engine.stop()
    of_servers = set().union(*taken.values())
    found = {
        "version": version,
        "encodings": {name: shown for name, shown in known.items() if shown in of_servers},
        "locales": taken,
    }
    (DATA / f"postgresql-{version.split('.')[0]}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
