"""Having PostgreSQL read its configuration again."""

import time

from contract.domain.errors import EngineFailed, NotYet
from guest_worker.datastores.postgresql.session import Session

SECONDS = 5.0
# what it says of what it takes at the next start: of what is in the file, and, with its name, of what is not any more
NEEDS_RESTART, LEFT_OUT = "setting could not be applied", "% cannot be changed without restarting the server"


def reload(session: Session) -> None:
    """Return when sessions that begin have what the file says; EngineFailed where it says what the engine refuses."""
    wrong = session.rows(
        "SELECT name, error FROM pg_file_settings WHERE error <> %s AND error NOT LIKE %s", (NEEDS_RESTART, LEFT_OUT)
    )
    if wrong:
        raise EngineFailed("; ".join(f"{name}: {error}" for name, error in wrong[:5]))
    before = session.rows("SELECT pg_conf_load_time()")
    session.rows("SELECT pg_reload_conf()")
    deadline = time.monotonic() + SECONDS
    # our session hears of it from the server's first process, which by then has read the file for those to come
    while session.rows("SELECT pg_conf_load_time()") == before:
        if time.monotonic() > deadline:
            raise NotYet("the database has not read its configuration again yet")
        time.sleep(0.02)
