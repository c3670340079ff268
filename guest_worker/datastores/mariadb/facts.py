"""Writes what one version of MariaDB has into the file that the control plane reads.

`python -m guest_worker.datastores.mariadb.facts [PREFIX]` makes a database of its own in a temporary folder and asks it: to be
run where that version is installed, in the folder `PREFIX` if not in the system's, and not as root.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from contract.domain.datastores.mariadb import DATA
from guest_worker.datastores.base import Datastore, EngineContext
from guest_worker.datastores.mariadb.driver import MariaDB
from guest_worker.datastores.mariadb.session import Session

QUESTION = (
    "SELECT CHARACTER_SET_NAME, COLLATION_NAME, FULL_COLLATION_NAME"
    " FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
)


def collations(session: Session, question: str) -> dict[str, list[str]]:
    """The names of all collations, by character set; those of Unicode 14 have a short name and a full one."""
    found: dict[str, set[str]] = {}
    for charset, short, full in session.rows(question):
        found.setdefault(str(charset), set()).update((str(short), str(full)))
    return {charset: sorted(names) for charset, names in sorted(found.items())}


def write(kind: type[Datastore], prefix: str = "", question: str = QUESTION) -> None:
    """Write the file of the version that is installed; MySQL's too."""
    with tempfile.TemporaryDirectory(prefix="coffer-facts-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        engine: Any = kind(EngineContext(data, Path(folder) / "state", bind_address="127.0.0.1", prefix=prefix))
        engine.initialise()
        engine.configure(256, {"skip_networking": "1"})
        engine.start()
        try:
            found = {"version": engine.version(), "collations": collations(engine.session, question)}
        finally:
            engine.stop()
    path = DATA / f"{engine.manager}-{'.'.join(str(found['version']).split('.')[:2])}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write(MariaDB, sys.argv[1] if sys.argv[1:] else "")
