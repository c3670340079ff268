"""What a newcomer does: `make demo` in a fresh clone, in a folder that is closed to other users."""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import psycopg
import pymysql
import pytest

from deploy.settings import StackSettings
from deploy.supervisor import Supervisor, leftovers
from tests.driver_process import REPOSITORY
from tests.temporal import free_port

Connected = TypeVar("Connected")


@dataclass
class Clone:
    """A clone with ports of its own."""

    folder: Path
    environment: dict[str, str]

    def make(self, target: str, *, fails: bool = False) -> str:
        """Run a target; return what it said."""
        done = subprocess.run(["make", target], cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    def settings(self) -> StackSettings:
        """As the clone's own processes see them."""
        ports = {name.removeprefix("COFFER_").lower(): value for name, value in self.environment.items()
                 if name.startswith("COFFER_") and name.endswith("_PORT")}  # fmt: skip
        said = subprocess.run([sys.executable, "-c", "from deploy import setup; print(setup.home()); print(setup.open_home())"],
                              cwd=self.folder, env=self.environment, capture_output=True, text=True)  # fmt: skip
        home, open_home = said.stdout.split()
        return StackSettings(home=Path(home), open_home=Path(open_home), **ports)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    """What git has, and what it would have next, in a folder of mode 0700."""
    folder = Path(tempfile.mkdtemp(prefix="coffer-clone-"))
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY,
                            capture_output=True, text=True, check=True)  # fmt: skip
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    names = sorted(
        (name for name in StackSettings.model_fields if name.endswith("_port")), key=lambda name: name == "swift_port"
    )
    first = free_port(len(names) + 3)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COFFER_", "OS_"))}
    ports = {f"COFFER_{name.upper()}": str(first + number) for number, name in enumerate(names)}
    if os.geteuid() != 0:  # as root the stack looks for a free range
        ports["COFFER_GUEST_RANGE"] = f"127.{random.randrange(30, 70)}.0.0/20"
    made = Clone(folder, {**kept, **ports})
    try:
        yield made
    finally:
        made.make("clean")
        assert not (folder / ".coffer").exists()
        assert not made.settings().open_home.exists()
        assert leftovers(made.settings()) == []
        shutil.rmtree(folder)


def visits(said: str) -> dict[str, int]:
    """How many rows each database of the demonstration reads."""
    return {name: int(count) for name, count in re.findall(r"demo-(\w+): user 'app' wrote .* reads (\d+) row", said)}


def connections(said: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Address and password of each database, from the lines on how to connect: MariaDB's, PostgreSQL's."""
    mariadb = re.search(r"mariadb -h (\S+) -u app -p(\S+) shop", said)
    postgresql = re.search(r"psql postgresql://app:(\S+)@(\S+)/shop", said)
    assert mariadb
    assert postgresql
    return (mariadb[1], mariadb[2]), (postgresql[2], postgresql[1])


def eventually(connect: Callable[[], Connected]) -> Connected:
    """Servers boot while `make up` goes on, and engines recover what was cut off: they are given half a minute."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect()
        except (pymysql.err.OperationalError, psycopg.OperationalError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def test_the_demonstration_twice_down_and_up_again(clone: Clone) -> None:
    said = clone.make("demo")
    assert visits(said) == {"mariadb": 1, "postgresql": 1}
    assert "demo-mariadb: start datastore" in said
    assert visits(clone.make("demo")) == {"mariadb": 2, "postgresql": 2}
    (address, secret), (address_of_postgresql, secret_of_postgresql) = connections(said)
    clone.make("status")
    clone.make("down")
    assert leftovers(clone.settings()) == []
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(host=address, user="app", password=secret, database="shop", connect_timeout=2)
    assert "down" in clone.make("status", fails=True)
    clone.make("up")
    with (
        eventually(lambda: pymysql.connect(host=address, user="app", password=secret, database="shop")) as mariadb,
        mariadb.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM visits")
        assert cursor.fetchone() == (2,)
    with eventually(
        lambda: psycopg.connect(host=address_of_postgresql, user="app", password=secret_of_postgresql, dbname="shop")
    ) as connection:
        assert connection.execute("SELECT count(*) FROM visits").fetchone() == (2,)
    assert httpx.get(f"{clone.settings().api_url}/docs").status_code == 200
    home = clone.settings().home
    assert (home / "openrc-demo").stat().st_mode & 0o077 == 0
    assert (home / "secrets/master.key").stat().st_mode & 0o077 == 0
    assert {each.stem for each in (home / "log").glob("*.log")} >= {
        "api",
        "temporal",
        "activity-worker",
        "workflow-worker",
    }


def test_a_port_that_is_taken_is_named(clone: Clone) -> None:
    import socket

    clone.make("down")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(clone.environment["COFFER_API_PORT"])))
        taken.listen()
        said = clone.make("up", fails=True)
    assert "COFFER_API_PORT" in said
    assert Supervisor(clone.settings()).pid() is None


def test_stale_files_are_no_error(clone: Clone) -> None:
    settings = clone.settings()
    clone.make("down")
    (settings.run / "supervisord.pid").write_text("1")
    (settings.run / "supervisor.sock").touch()
    (settings.open_home / "records/data/postmaster.pid").write_text("1\n")
    clone.make("up")
    clone.make("status")
