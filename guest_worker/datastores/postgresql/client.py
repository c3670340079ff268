"""PostgreSQL's client."""

from typing import Any

import psycopg

from guest_worker.datastores.client import Client


class PostgreSQLClient(Client):
    """PostgreSQL over psycopg."""

    refused = (psycopg.Error,)
    command = "psql postgresql://{user}:{secret}@{address}/{database}"

    def connect(self, address: str, user: str, password: str, database: str = "") -> Any:
        """Connect as a tenant does."""
        return psycopg.connect(
            host=address,
            user=user,
            password=password,
            dbname=database or "postgres",
            autocommit=True,
            connect_timeout=5,
        )


CLIENT = PostgreSQLClient()
