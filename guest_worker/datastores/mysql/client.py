"""MySQL's client."""

import ssl
from functools import cache
from typing import Any

from guest_worker.datastores.mariadb.client import MariaDBClient


class MySQLClient(MariaDBClient):
    """MySQL over pymysql."""

    command = "mysql -h {address} -u {user} -p{secret} {database}"

    def encryption(self) -> dict[str, Any]:
        """The engine makes a certificate for itself, which nobody can check."""
        return {"ssl": _encrypted()}


@cache
def _encrypted() -> ssl.SSLContext:
    """Made once: it takes longer than to connect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


CLIENT = MySQLClient()
