"""How each engine is reached from outside: the client of a tenant, over TCP, and the questions in its dialect."""

from abc import ABC, abstractmethod
from typing import Any

import psycopg
import pymysql


class Dialect(ABC):
    """One engine, seen by a tenant."""

    manager: str
    memory_question: str
    create_row = "INSERT INTO t VALUES (1)"

    @abstractmethod
    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """A connection in autocommit; raises `refused` when the engine says no."""

    refused: tuple[type[Exception], ...]

    def ask(self, connection: Any, question: str) -> list[tuple[Any, ...]]:
        """Rows of an answer."""
        with connection.cursor() as cursor:
            cursor.execute(question)
            return list(cursor.fetchall()) if cursor.description else []


class MariaDBDialect(Dialect):
    """MariaDB over pymysql."""

    manager = "mariadb"
    memory_question = "SELECT @@innodb_buffer_pool_size"
    refused = (pymysql.err.MySQLError,)

    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """Connect as a tenant does."""
        return pymysql.connect(
            host=address, user=user, password=password, database=database or None, autocommit=True, connect_timeout=5
        )


class PostgreSQLDialect(Dialect):
    """PostgreSQL over psycopg."""

    manager = "postgresql"
    memory_question = "SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'shared_buffers'"
    refused = (psycopg.Error,)

    def connect(self, address: str, user: str, password: str, database: str) -> Any:
        """Connect as a tenant does."""
        return psycopg.connect(
            host=address,
            user=user,
            password=password,
            dbname=database or "postgres",
            autocommit=True,
            connect_timeout=5,
        )


DIALECTS: dict[str, Dialect] = {each.manager: each for each in (MariaDBDialect(), PostgreSQLDialect())}
