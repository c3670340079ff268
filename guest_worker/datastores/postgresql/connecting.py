"""Every connection with PostgreSQL as its administrator is opened here.

The password is used in one way alone, for SCRAM: whoever asks for it in clear or as an MD5 hash, or asks for nothing, is
refused by libpq.
"""

import selectors
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from guest_worker.datastores.engine_socket import EngineSocket

ADMIN = "os_admin"
HOME = "postgres"  # the database that the administrator talks from
UNLOGGED = {  # none of our statements is written to a log that a tenant reads
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_duration": "off",
    "log_min_error_statement": "panic",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
}
FIRES_AT_LOGIN = 17  # the first version that has event triggers which fire at a login, and a setting against them
Connection = psycopg.Connection[tuple[Any, ...]]


def quiet(prefix: str) -> dict[str, str]:
    """Settings of a session in which no event trigger fires. Of the programs below `prefix` the newest are run."""
    versions = [int(each.parent.name) for each in Path(f"{prefix}/usr/lib/postgresql").glob("*/bin")]
    return {"event_triggers": "off"} if max(versions, default=0) >= FIRES_AT_LOGIN else {}


def connect(to: EngineSocket, database: str, *, seconds: float, **options: str) -> Connection:
    """Log in, for statements that are transactions of their own. `options` are libpq's.

    NotTheEngine, with nothing sent, when another process listens there.
    """
    with to.entered() as folder:
        # libpq has connected now, and says nothing before it is polled
        started = pq.PGconn.connect_start(_description(to, folder, database, options))
    try:
        if started.status != pq.ConnStatus.BAD:
            to.require_engine(started.socket)
        _finish(started, time.monotonic() + seconds)
    except BaseException:
        started.finish()
        raise
    connection: Connection = psycopg.Connection(started)
    connection.autocommit = True
    return connection


def _description(to: EngineSocket, folder: str, database: str, options: dict[str, str]) -> bytes:
    return make_conninfo(
        host=folder,
        dbname=database,
        user=ADMIN,
        password=to.password(),
        require_auth="scram-sha-256",
        sslmode="disable",  # there is none on a Unix socket; said, so that no second connection is ever tried
        gssencmode="disable",
        target_session_attrs="any",
        **options,
    ).encode()


def _finish(started: pq.abc.PGconn, until: float) -> None:
    """See the login to its end."""
    with selectors.DefaultSelector() as waiting:
        while (status := started.connect_poll()) != pq.PollingStatus.OK:
            if status == pq.PollingStatus.FAILED:
                raise psycopg.OperationalError(f"connection failed: {started.get_error_message()}")
            wanted = selectors.EVENT_READ if status == pq.PollingStatus.READING else selectors.EVENT_WRITE
            key = waiting.register(started.socket, wanted)
            ready = waiting.select(max(0.0, until - time.monotonic()))
            waiting.unregister(key.fileobj)
            if not ready:
                raise psycopg.errors.ConnectionTimeout("connection timeout expired")
    started.nonblocking = 1
