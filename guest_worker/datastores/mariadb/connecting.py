"""Every connection with MariaDB as its administrator is opened here.

The password is used in one way alone, as an answer to a challenge (`mysql_native_password`): no plugin that the other end
names makes the client send it, or encrypt it with a key of the other end's.
"""

import socket
from typing import Any

import pymysql
from pymysql.constants import CR

from guest_worker.datastores.engine_socket import EngineSocket

ADMIN = "os_admin"
NATIVE = "mysql_native_password"
OTHER_WAY = CR.CR_AUTH_PLUGIN_CANNOT_LOAD
# The first words of each session of ours: none of its statements is written to a log that a tenant reads.
UNLOGGED_SESSION = "SET SESSION sql_log_off = 1, long_query_time = 31536000, min_examined_row_limit = 4294967295"
Connection = pymysql.connections.Connection


class Refusing:
    """Answers a plugin."""

    def __init__(self, connection: "Connection[Any]") -> None:
        """As the client library calls it."""

    def authenticate(self, packet: object) -> None:
        """Send nothing."""
        raise pymysql.err.OperationalError(
            OTHER_WAY, "the database asks for the administrator's password in another way"
        )


class Plugins(dict[str, Any]):
    """Who answers which plugin: one alone is answered, by the client library if `by` is None."""

    def __init__(self, only: str, by: Any) -> None:
        super().__init__()
        self._only = only
        self._by = by

    def __bool__(self) -> bool:
        return True

    def get(self, plugin: str | bytes, default: object = None) -> Any:
        return self._by if plugin in (self._only, self._only.encode()) else Refusing


def connect(to: EngineSocket, *, patience: float, seconds: float, settings: str) -> "Connection[Any]":
    """Log in; `patience` for the socket, `seconds` for each answer. `settings` is the first statement.

    NotTheEngine, with nothing sent, when another process listens there.
    """
    connection = administrator(to.password(), Plugins(NATIVE, None), seconds, settings)
    return led_to(connection, to, "mariadb.sock", patience)


def administrator(password: str, plugins: Plugins, seconds: float, settings: str) -> "Connection[Any]":
    """A connection that is not opened yet."""
    return Connection(
        user=ADMIN,
        password=password,
        read_timeout=seconds,
        write_timeout=seconds,
        charset="utf8mb4",
        init_command=settings,
        autocommit=None,
        ssl_disabled=True,
        auth_plugin_map=plugins,
        defer_connect=True,
    )


def led_to(connection: "Connection[Any]", to: EngineSocket, name: str, patience: float) -> "Connection[Any]":
    """Open it by a socket, whose process is known before anything is said."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(patience)
        with to.entered() as folder:
            line.connect(f"{folder}/{name}")
        to.require_engine(line.fileno())
        connection.connect(line)
    except BaseException:
        line.close()
        raise
    return connection
