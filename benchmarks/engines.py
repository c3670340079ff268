"""The floor of a creation: an engine's own initialisation and start, done outside Coffer by hand.

The programs and the options that cost time are those of the guest's drivers (`guest_worker/datastores/`).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from benchmarks.client import Unexpected
from deploy import postgres
from deploy.settings import StackSettings

PATIENCE = 60.0
PAUSE = 0.01  # between two looks whether the engine answers
ADMIN, SECRET = "os_admin", "floor"  # of a database that lives for a second, reachable through its folder alone
MEMORY_MIB = 1024  # of the flavor that is ordered
ENGINES = ("mariadb", "postgresql")  # what is measured; for each there is a method of Floor
MARIADB = f"""[mariadbd]
datadir = {{folder}}
socket = mariadb.sock
pid_file = {{folder}}/mariadbd.pid
skip_networking = 1
innodb_buffer_pool_size = {MEMORY_MIB // 2}M
innodb_log_file_size = 96M
innodb_flush_method = O_DIRECT
innodb_flush_log_at_trx_commit = 1
sync_binlog = 1
"""
POSTGRESQL = f"""listen_addresses = ''
unix_socket_directories = '.'
shared_buffers = '{MEMORY_MIB // 4}MB'
"""


class Floor:
    """Runs engines as an unprivileged user in folders that are gone afterwards."""

    def __init__(self, settings: StackSettings) -> None:
        user = settings.records_user  # root cannot run engines; nobody else need change user
        self._user = user
        self._who: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}

    def measure(self, datastore: str) -> float:
        """Seconds from nothing to the first answer."""
        run = getattr(self, f"_{datastore}")
        with self._folder() as folder:
            began = time.perf_counter()
            with run(folder) as answers:
                _wait_until(answers)
                return time.perf_counter() - began

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="coffer-floor-"))
        try:
            if self._user:
                shutil.chown(folder, self._user, self._user)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _mariadb(self, folder: Path) -> Iterator[Callable[[], None]]:
        data, config = folder / "data", folder / "mariadb.cnf"
        self._run("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve",
                  "--auth-root-authentication-method=normal")  # fmt: skip
        statements = (f"FLUSH PRIVILEGES;\nCREATE USER '{ADMIN}'@'localhost' IDENTIFIED BY '{SECRET}';\n"
                      f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'localhost' WITH GRANT OPTION;\n")  # fmt: skip
        self._run("mariadbd", "--no-defaults", "--bootstrap", f"--datadir={data}", given=statements)
        config.write_text(MARIADB.format(folder=data))

        def answers() -> None:
            pymysql.connect(unix_socket=str(data / "mariadb.sock"), user=ADMIN, password=SECRET).close()

        with self._server(folder, ["mariadbd", f"--defaults-file={config}"], signal.SIGTERM):
            yield answers

    @contextlib.contextmanager
    def _postgresql(self, folder: Path) -> Iterator[Callable[[], None]]:
        data, secret = folder / "data", folder / "secret"
        secret.write_text(SECRET)
        self._run("initdb", f"--pgdata={data}", f"--username={ADMIN}", f"--pwfile={secret}", "--auth=scram-sha-256",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums")  # fmt: skip
        (data / "postgresql.conf").write_text(POSTGRESQL)

        def answers() -> None:
            psycopg.connect(host=str(data), user=ADMIN, password=SECRET, dbname="postgres").close()

        with self._server(folder, ["postgres", "-D", str(data)], signal.SIGINT):
            yield answers

    def _run(self, program: str, *arguments: str, given: str = "") -> None:
        done = subprocess.run([_find(program), *arguments], input=given, capture_output=True, text=True, cwd="/",
                              **self._who)  # fmt: skip
        if done.returncode:
            raise Unexpected(f"{program} ended with {done.returncode}: {done.stderr[-500:]}")

    @contextlib.contextmanager
    def _server(self, folder: Path, command: list[str], end: signal.Signals) -> Iterator[None]:
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([_find(command[0]), *command[1:]], stdout=log, stderr=log, cwd="/", **self._who)
        try:
            yield
        finally:
            server.send_signal(end)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _find(program: str) -> str:
    path = f"{postgres.programs()}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        raise Unexpected(f"{program} is not installed")
    return found


def _wait_until(answers: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return answers()
        except (pymysql.err.MySQLError, psycopg.OperationalError, OSError) as error:
            if time.monotonic() > deadline:
                raise Unexpected(f"the engine does not answer: {error}") from error
            time.sleep(PAUSE)
