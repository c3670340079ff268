"""Whoever takes the place of the engine's socket learns nothing."""

import base64
import hashlib
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from contract.domain.accounts import NewDatabase
from contract.domain.errors import EngineFailed
from guest_worker.datastores.base import EngineState, PlainUser
from guest_worker.datastores.engine_socket import EngineSocket, NotTheEngine
from guest_worker.datastores.mariadb import connecting as mariadb
from guest_worker.datastores.mysql import connecting as mysql
from guest_worker.datastores.postgresql import connecting as postgresql
from tests.contracts.conftest import AMY, PASSWORD, Case
from tests.contracts.engines import ENGINES

SECRET = "the-administrator's-password-43-characters"
SOCKETS = {"mariadb": "mariadb.sock", "mysql": "mysql.sock", "postgresql": ".s.PGSQL.5432"}
CONNECT: dict[str, Callable[[EngineSocket], Any]] = {
    "mariadb": lambda to: mariadb.connect(to, patience=2, seconds=2, settings="SELECT 1"),
    "mysql": lambda to: mysql.connect(to, patience=2, seconds=2, settings="SELECT 1"),
    "postgresql": lambda to: postgresql.connect(to, postgresql.HOME, seconds=2),
}


# -- impostors -------------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """One connection at the impostor's end; `said` is what the client sent, message by message."""

    connection: socket.socket
    said: list[bytes] = field(default_factory=list)

    def hear(self, count: int) -> bytes:
        """So many bytes; EOFError when there are none."""
        found = b""
        while len(found) < count:
            more = self.connection.recv(count - len(found))
            if not more:
                raise EOFError
            found += more
        return found


Play = Callable[[Line], None]


@contextmanager
def impostor(path: Path, play: Play) -> Iterator[list[bytes]]:
    """Listen at a path in this process, and play for whoever connects; gives all that was received."""
    received: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH)
    listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    path.chmod(0o777)
    listener.listen(16)
    listener.settimeout(0.1)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                connection.settimeout(3)
                line = Line(connection)
                with connection, suppress(EOFError, OSError):
                    play(line)
                    line.said.append(line.hear(1))  # whatever comes after all
                received.extend(line.said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield received
    finally:
        ended.set()
        thread.join()
        listener.close()
        os.close(folder)
        path.unlink()


class MariaDBLine:
    """MariaDB's protocol: packets with a number."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._next = 0

    def say(self, content: bytes) -> None:
        """Send a packet."""
        head = struct.pack("<I", len(content))[:3] + bytes([self._next])
        self._line.connection.sendall(head + content)
        self._next += 1

    def hear(self) -> bytes:
        """Receive one."""
        head = self._line.hear(4)
        self._next = head[3] + 1
        content = self._line.hear(int.from_bytes(head[:3], "little"))
        self._line.said.append(content)
        return content

    def greet(self, plugin: str) -> None:
        """Introduce oneself, with a plugin of one's choice."""
        offered = 0xFFFFFFFF  # TLS and compression, too
        self.say(
            b"\x0a5.5.5-10.11.6-MariaDB\0" + struct.pack("<I", 1) + b"saltsalt\0" + struct.pack("<H", offered & 0xFFFF)
            + b"\x2d\x02\x00" + struct.pack("<H", offered >> 16) + b"\x15" + bytes(10) + b"twelve bytes\0"
            + plugin.encode() + b"\0"
        )  # fmt: skip


PLUGINS = ("mysql_native_password", "", "mysql_clear_password", "mysql_old_password", "sha256_password",
           "caching_sha2_password", "client_ed25519", "dialog", "parsec", "auth_gssapi_client", "nonesuch")  # fmt: skip


def greeting_with(plugin: str) -> Play:
    """Name a plugin at once, then ask for more in each way that plugins do."""

    def play(line: Line) -> None:
        there = MariaDBLine(line)
        there.greet(plugin)
        there.hear()
        while True:
            for more in (b"\x01\x04", b"\x01" + PUBLIC_KEY, b"\x01\x03Password: "):
                there.say(more)
                there.hear()

    return play


def switching_to(plugin: str, given: bytes = b"s" * 20 + b"\0") -> Play:
    """Take the right answer for a wrong one, and name another plugin."""

    def play(line: Line) -> None:
        there = MariaDBLine(line)
        there.greet("mysql_native_password")
        there.hear()
        there.say(b"\xfe" + plugin.encode() + b"\0" + given)
        while True:
            there.hear()
            there.say(b"\x01\x04")

    return play


def older_than_old(line: Line) -> None:
    """The request of protocol 3.23 for a password."""
    there = MariaDBLine(line)
    there.greet("mysql_native_password")
    there.hear()
    there.say(b"\xfe")
    there.hear()


def asking_for(file: str) -> Play:
    """Let the client in, and answer its first question with a question for a file of its machine."""

    def play(line: Line) -> None:
        there = MariaDBLine(line)
        there.greet("mysql_native_password")
        there.hear()
        there.say(b"\0\0\0\x02\0\0\0")
        there.hear()
        there.say(b"\xfb" + file.encode())
        there.hear()

    return play


def asking(*requests: bytes, started: bool = False) -> Play:
    """PostgreSQL: answer the start with one request for a password after the other; `started`: with a whole session."""

    def play(line: Line) -> None:
        def hear(kind: int) -> None:
            head = line.hear(4 + kind)
            line.said.append(head + line.hear(int.from_bytes(head[kind:], "big") - 4))

        def say(kind: bytes, content: bytes) -> None:
            line.connection.sendall(kind + struct.pack(">I", len(content) + 4) + content)

        hear(0)
        for request in requests:
            nonce = re.search(rb"r=([^,]+)", line.said[-1])
            say(b"R", request.replace(b"NONCE", nonce.group(1) if nonce else b""))
            if request[:4] != struct.pack(">I", 0):
                hear(1)
        if started:
            say(b"Z", b"I")
        while True:
            hear(1)

    return play


def _request(code: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", code) + content


OK = _request(0)
SCRAM = _request(10, b"SCRAM-SHA-256\0\0")
CHALLENGE = _request(11, b"r=NONCEmine,s=" + base64.b64encode(b"salt" * 4) + b",i=1")
# The messages that the client may send after the first one: none, unless the method is the engine's own.
REQUESTS: dict[str, tuple[Play, int]] = {
    "nothing at all": (asking(OK, started=True), 0),
    "Kerberos 5": (asking(_request(2)), 0),
    "clear": (asking(_request(3)), 0),
    "crypt": (asking(_request(4, b"ab")), 0),
    "MD5": (asking(_request(5, b"salt")), 0),
    "SCM credentials": (asking(_request(6)), 0),
    "GSSAPI": (asking(_request(7)), 0),
    "SSPI": (asking(_request(9)), 0),
    "no SASL mechanism": (asking(_request(10, b"\0")), 0),
    "SASL in clear": (asking(_request(10, b"PLAIN\0\0")), 0),
    "OAuth": (asking(_request(10, b"OAUTHBEARER\0\0")), 0),
    "SCRAM bound to TLS": (asking(_request(10, b"SCRAM-SHA-256-PLUS\0\0")), 0),
    "an unknown method": (asking(_request(99)), 0),
    "SCRAM, cut short": (asking(SCRAM, OK, started=True), 1),
    "SCRAM, then in clear": (asking(SCRAM, _request(3)), 1),
    "SCRAM with another's number": (asking(SCRAM, CHALLENGE.replace(b"NONCE", b"other")), 1),
    "SCRAM without a proof of one's own": (asking(SCRAM, CHALLENGE, OK, started=True), 2),
    "SCRAM with a false proof": (asking(SCRAM, CHALLENGE, _request(12, b"v=" + b"A" * 43 + b"="), started=True), 2),
}
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL2+NyBOaSjHhNGGZPoXcQdl0bOoSvl7
-----END PUBLIC KEY-----"""


def forms(secret: str) -> list[bytes]:
    """A password as it might be sent, or what stands for it at a login. (What the engine keeps of it, it knows.)"""
    plain = secret.encode()
    digests = [hashlib.new(each, plain).digest() for each in ("md5", "sha1", "sha256")]
    of_user = hashlib.md5(plain + b"os_admin").digest()
    salted = hashlib.pbkdf2_hmac("sha256", plain, b"salt" * 4, 1)
    raw = [plain, plain[:12], plain[::-1], *digests, of_user, salted]
    return [form for each in raw for form in (each, base64.b64encode(each), each.hex().encode())]


def says_nothing(said: Sequence[bytes], secret: str) -> None:
    """That no message holds the password in any form."""
    for message in said:
        assert not [form for form in forms(secret) if form.lower() in message.lower()], message


# -- another process -------------------------------------------------------------------------------------------------

SPEAKING: dict[str, Play] = {
    "mariadb": switching_to("mysql_clear_password"),
    "mysql": switching_to("mysql_clear_password"),
    "postgresql": asking(_request(3)),
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "list_users": lambda accounts: accounts.list_users(),
    "list_databases": lambda accounts: accounts.list_databases(),
    "create_database": lambda accounts: accounts.create_database(NewDatabase(name="app2")),
    "set_password": lambda accounts: accounts.set_password(AMY, PASSWORD),
    "enable_root": lambda accounts: accounts.enable_root(PASSWORD),
    "delete_database": lambda accounts: accounts.delete_database("app"),
}


def forget_connections(case: Case) -> None:
    """So that each call must open one."""
    case.engine.call("_prober.close")
    case.engine.call("session.close")


def test_another_process_on_the_socket_hears_nothing(app: Case) -> None:
    path = app.folder / "data" / app.dialect.manager / SOCKETS[app.dialect.manager]
    aside = path.with_name("aside")
    forget_connections(app)
    path.rename(aside)
    try:
        with impostor(path, SPEAKING[app.dialect.manager]) as received:
            assert app.engine.probe().state is EngineState.NOT_THE_ENGINE
            assert "another process" in app.engine.probe().words
            for call in CALLS.values():
                with pytest.raises(EngineFailed):
                    call(app.accounts)
    finally:
        aside.rename(path)
    assert received == []
    assert app.engine.probe().state is EngineState.ANSWERS
    assert app.accounts.list_databases() == ("app",)
    app.connect().close()


def test_a_process_that_waits_while_the_engine_is_down_hears_nothing_when_it_starts(app: Case) -> None:
    path = app.folder / "data" / app.dialect.manager / SOCKETS[app.dialect.manager]
    app.engine.stop()
    with impostor(path, SPEAKING[app.dialect.manager]) as received:
        assert app.engine.probe().state is EngineState.SILENT
        for call in CALLS.values():
            with pytest.raises(EngineFailed):
                call(app.accounts)
        path.rename(path.with_name("kept"))  # the engine's own takes its place; what listens goes on
        app.engine.start()
        path.rename(path.with_name("aside"))
        path.with_name("kept").rename(path)
        forget_connections(app)
        assert app.engine.probe().state is EngineState.NOT_THE_ENGINE
    path.with_name("aside").rename(path)
    assert received == []
    assert app.engine.probe().state is EngineState.ANSWERS
    assert app.accounts.list_databases() == ("app",)


@pytest.mark.parametrize("manager", ENGINES)
@pytest.mark.parametrize("pid", [None, 0, 1])
def test_a_connection_that_leads_elsewhere_is_not_used(tmp_path: Path, manager: str, pid: int | None) -> None:
    with impostor(tmp_path / SOCKETS[manager], SPEAKING[manager]) as received, pytest.raises(NotTheEngine):
        CONNECT[manager](EngineSocket(tmp_path, lambda: SECRET, lambda: pid))
    assert received == []


# -- the engine's own process, stolen ----------------------------------------------------------------------------------


def met(tmp_path: Path, manager: str, play: Play) -> list[bytes]:
    """What a client sends to the engine's process when it plays; it must refuse it."""
    with impostor(tmp_path / SOCKETS[manager], play) as received:
        with pytest.raises(Exception) as refused:
            CONNECT[manager](EngineSocket(tmp_path, lambda: SECRET, os.getpid)).close()
        assert not isinstance(refused.value, NotTheEngine)
    says_nothing(received, SECRET)
    assert received  # it was asked at all
    return received


@pytest.mark.parametrize("request_", REQUESTS)
def test_postgresql_asks_for_the_password_in_any_way(tmp_path: Path, request_: str) -> None:
    play, answers = REQUESTS[request_]
    received = met(tmp_path, "postgresql", play)
    assert len(received) == 1 + answers


@pytest.mark.parametrize("plugin", PLUGINS)
def test_mariadb_greets_with_any_plugin(tmp_path: Path, plugin: str) -> None:
    assert len(met(tmp_path, "mariadb", greeting_with(plugin))) == 1


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("given", [b"", b"s" * 20 + b"\0", b"\x03Password: ", b"\0" * 32],
                         ids=["nothing", "a salt", "a question", "zeros"])  # fmt: skip
def test_mariadb_switches_to_any_plugin(tmp_path: Path, plugin: str, given: bytes) -> None:
    answers = met(tmp_path, "mariadb", switching_to(plugin, given))[1:]
    assert [len(each) for each in answers] in ([], [20] if plugin == "mysql_native_password" else [])


@pytest.mark.parametrize("play", [older_than_old, asking_for("/proc/self/environ")])
def test_mariadb_asks_for_more_than_a_password(tmp_path: Path, play: Play) -> None:
    received = met(tmp_path, "mariadb", play)
    assert not any(b"PATH=" in each for each in received)
    assert len(received) <= 3


def test_the_engine_itself_is_asked_as_ever(app: Case) -> None:
    forget_connections(app)
    app.accounts.create_user(PlainUser(AMY, "other", ("app",)))
    assert app.engine.probe().state is EngineState.ANSWERS
    app.connect(password="other").close()
