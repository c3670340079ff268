"""Real clients of the engines, with TLS and without."""

import ssl
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql

REFUSED = (psycopg.Error, pymysql.err.MySQLError, OSError)


@dataclass(frozen=True)
class TlsClient:
    """A client of the tenant's; `ca` is what it believes, `own` its certificate, both files."""

    manager: str
    address: str
    user: str
    password: str

    def connect(self, ca: Path | None = None, own: Path | None = None, *, plain: bool = False) -> Any:
        """Log in."""
        if self.manager == "postgresql":
            return self._postgresql(ca, own, plain)
        context = ssl.create_default_context(cafile=str(ca)) if ca else ssl._create_unverified_context()
        if own is not None:
            context.load_cert_chain(own)
        how: dict[str, Any] = {"ssl_disabled": True} if plain else {"ssl": context}
        return pymysql.connect(host=self.address, user=self.user, password=self.password, connect_timeout=5, **how)

    def _postgresql(self, ca: Path | None, own: Path | None, plain: bool) -> Any:
        mode = "disable" if plain else "verify-full" if ca else "require"
        more: dict[str, Any] = {"sslrootcert": str(ca)} if ca else {}
        # a file that is not there: else libpq looks for one in the user's home
        mine = str(own or "/nonexistent/client.pem")
        return psycopg.connect(host=self.address, user=self.user, password=self.password, dbname="app", sslmode=mode,
                               connect_timeout=5, sslcert=mine, sslkey=mine, **more)  # fmt: skip

    def is_let_in(self, ca: Path | None = None, own: Path | None = None, *, plain: bool = False) -> bool:
        """Whether it can log in and ask."""
        try:
            with closing(self.connect(ca, own, plain=plain)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return True
        except REFUSED:
            return False
