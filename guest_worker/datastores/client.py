"""What a tenant's client does with an engine, over TCP: for the demonstration and the tests. Imports no driver."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class Client(ABC):
    """One engine, seen by a tenant."""

    refused: ClassVar[tuple[type[Exception], ...]]  # what it raises when the engine says no
    command: ClassVar[str]  # what a person types; with {address}, {user}, {secret} and {database}

    @abstractmethod
    def connect(self, address: str, user: str, password: str, database: str = "") -> Any:
        """A connection in autocommit; without a database, to the one that everybody may use or to none."""

    def ask(self, connection: Any, statement: str) -> list[tuple[Any, ...]]:
        """Rows of an answer."""
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
