"""How the administrator's account is made; and made what it was, whatever a superuser of the tenant's did to it.

The statements are for single-user mode, where the session is the bootstrap superuser's (its OID is always 10), no right is
looked at, and settings of roles and databases do not count. `ALTER ROLE` would not do: it cannot rename the session's role.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path

from contract.domain.errors import EngineFailed
from guest_worker import host
from guest_worker.datastores.base import EngineContext
from guest_worker.datastores.postgresql.connecting import ADMIN, HOME
from guest_worker.datastores.postgresql.recipe import program
from guest_worker.datastores.process import EngineProcess

ROUNDS = 4096
DONE = '"administrator restored"'
ALONE = {  # what must not load, and what must not be logged, while the account is restored
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "shared_preload_libraries": "",
    "default_transaction_read_only": "off",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
}


# One a line, as single-user mode reads them; the last one answers DONE when the account is as it should be. VERIFIER has
# no quotes. The database may be there, and is then refused, which is as well.
STATEMENTS = """
UPDATE pg_catalog.pg_authid SET rolname = 'os_admin_' || oid WHERE rolname = 'os_admin' AND oid <> 10
UPDATE pg_catalog.pg_authid SET rolname = 'os_admin', rolsuper = true, rolcanlogin = true, rolinherit = true, \
rolcreaterole = true, rolcreatedb = true, rolreplication = true, rolbypassrls = true, rolconnlimit = -1, \
rolvaliduntil = NULL, rolpassword = 'VERIFIER' WHERE oid = 10
DELETE FROM pg_catalog.pg_db_role_setting WHERE setrole = 10 OR setdatabase = \
(SELECT oid FROM pg_catalog.pg_database WHERE datname = 'postgres')
CREATE DATABASE postgres TEMPLATE template0
UPDATE pg_catalog.pg_database SET datallowconn = true, datconnlimit = -1 WHERE datname = 'postgres'
SELECT 'administrator restored' FROM pg_catalog.pg_authid r, pg_catalog.pg_database d WHERE r.oid = 10 \
AND rolname = 'os_admin' AND rolsuper AND rolpassword = 'VERIFIER' AND datname = 'postgres' AND datallowconn
""".lstrip()


def restoring(password: str) -> str:
    """What single-user mode is told."""
    return STATEMENTS.replace("VERIFIER", scram_verifier(password))


def scram_verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5802), so that no statement carries the password itself; ASCII alone."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${ROUNDS}:{salt_text}${stored_text}:{server_text}"


def initdb(context: EngineContext, process: EngineProcess, folder: Path) -> None:
    """Make a data directory, with the administrator's account alone in it, however long that takes; EngineFailed."""
    process.run(
        [program("initdb", context.prefix), f"--pgdata={folder}", f"--username={ADMIN}", "--pwfile=/dev/stdin",
         "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"],
        given=scram_verifier(context.admin_password()) + "\n",
    )  # fmt: skip


def restore(context: EngineContext, postgres: str, options: Sequence[str]) -> None:
    """Make the account what it was, with this program and its options, which name the data directory; EngineFailed."""
    given, said = restoring(context.admin_password()), ""
    for database in (HOME, "template1", "template0"):  # the tenant's root may have dropped the first ones
        try:
            said = context.engine.run([postgres, "--single", *options, database], given=given)
        except host.CommandFailed as error:
            said = error.output
        if DONE in said:
            return
    raise EngineFailed(f"postgresql's administrator could not be restored: {said[-300:]}")
