"""Every connection with MySQL as its administrator is opened here.

There is no password: the engine asks the kernel which OS user is at the other end of the socket (`auth_socket`), and takes
the guest's alone. Whatever else is asked for, nothing is answered.
"""

from typing import Any

from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.datastores.mariadb.connecting import Connection, Plugins, administrator, led_to

BY_SOCKET = "auth_socket"


class BySocket:
    """Answers `auth_socket`, which wants nothing but to hear from us."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._connection: Any = connection

    def authenticate(self, packet: object) -> Any:
        """Say nothing, and hear whether that was enough."""
        self._connection.write_packet(b"")
        answer = self._connection._read_packet()
        answer.check_error()
        return answer


def connect(to: EngineSocket, *, patience: float, seconds: float, settings: str) -> "Connection[Any]":
    """Log in; `patience` for the socket, `seconds` for each answer. `settings` is the first statement.

    NotTheEngine, with nothing sent, when another process listens there.
    """
    connection = administrator("", Plugins(BY_SOCKET, BySocket), seconds, settings)
    return led_to(connection, to, "mysql.sock", patience)
