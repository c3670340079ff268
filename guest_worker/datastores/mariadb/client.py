"""MariaDB's client."""

from typing import Any

import pymysql

from guest_worker.datastores.client import Client


class MariaDBClient(Client):
    """MariaDB over pymysql."""

    refused = (pymysql.err.MySQLError,)
    command = "mariadb -h {address} -u {user} -p{secret} {database}"

    def connect(self, address: str, user: str, password: str, database: str = "") -> Any:
        """Connect as a tenant does."""
        return pymysql.connect(
            host=address, user=user, password=password, database=database or None, autocommit=True, connect_timeout=5,
            **self.encryption(),
        )  # fmt: skip

    def encryption(self) -> dict[str, Any]:
        """What pymysql is told of TLS: the engine asks for none, and to get ready for it takes long."""
        return {"ssl_disabled": True}


CLIENT = MariaDBClient()
