"""No state is a trap: a full volume and a lost administrator, as the tenant sees them through the API, and gets out."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from guest_worker.reserve import FULL
from guest_worker.supervisor import RESTORING
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.contracts.engines import DIALECTS
from tests.stack import RunningStack
from tests.whole.inside import Server

PATIENCE = 90.0
PASSWORD = "Amy-password-1"
ROOM = 120  # MiB that are left to the tenant
INSERT = "INSERT INTO heap (text) VALUES (REPEAT('x', 4000000))"


@pytest.fixture(scope="module")
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """The tenant."""
    with stack.api("demo") as client:
        yield client


def a_database(demo: httpx.Client, engine: str) -> tuple[str, str, Callable[..., Any]]:
    """An instance with a database and a user: its path, its address, and a way to ask it something."""
    amy = {"name": "amy", "password": PASSWORD, "databases": [{"name": "app"}]}
    made = order(demo, f"recovers-{engine}", engine, databases=[{"name": "app"}], users=[amy])
    address = wait_for(demo, made, "ACTIVE")["ip"][0]

    def ask(statement: str, user: str = "amy", password: str = PASSWORD) -> list[tuple[Any, ...]]:
        dialect = DIALECTS[engine]
        with contextlib.closing(dialect.connect(address, user, password, "app")) as session:
            return dialect.ask(session, statement)

    return made, f"/instances/{made}", ask


def until(demo: httpx.Client, path: str, status: str, reason: str | None = None) -> None:
    """Wait for what the instance's owner reads of it."""
    last = time.monotonic() + PATIENCE
    while True:
        found = demo.get(path).json()["instance"]
        if found["operating_status"] == status and reason in (None, found["operating_status_reason"]):
            return
        assert time.monotonic() < last, found
        time.sleep(0.05)


def answered(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask again while the database does not answer, as the 503 says."""
    last = time.monotonic() + PATIENCE
    while (answer := ask()).status_code == 503:
        assert time.monotonic() < last, answer.text
        time.sleep(0.5)
    return answer


def take_all_room(server: Server, name: str, leave: int) -> None:
    """Fill the volume with what other tables would hold, in less time."""
    script = (
        "import os, sys; found = os.statvfs('/var/lib/database'); file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY);"
        "os.posix_fallocate(file, 0, found.f_bavail * found.f_frsize - int(sys.argv[2]))"
    )
    said = server.run("engine", "/usr/bin/python3", "-c", script, f"/var/lib/database/{name}", str(leave << 20))
    assert said.returncode == 0, said.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, there are no volumes")
def test_a_full_volume_is_said_and_left_by_deleting(stack: RunningStack, demo: httpx.Client) -> None:
    made, path, ask = a_database(demo, "mariadb")
    server = Server.of(stack, made)
    take_all_room(server, "ballast", ROOM)
    ask("CREATE TABLE heap (text LONGTEXT)")
    with pytest.raises(DIALECTS["mariadb"].refused):
        for _ in range(ROOM):
            ask(INSERT)
    until(demo, path, "BLOCKED", FULL)
    refused = demo.post(f"{path}/databases", json={"databases": [{"name": "more"}]})
    assert (refused.status_code, "the data volume is full" in refused.text) == (422, True), refused.text
    listed = answered(lambda: demo.get(f"{path}/databases"))  # an engine that ended of it starts again by itself
    assert listed.json() == {"databases": [{"name": "app"}]}
    assert answered(lambda: demo.delete(f"{path}/databases/app")).status_code == 202
    until(demo, path, "HEALTHY")
    assert demo.post(f"{path}/databases", json={"databases": [{"name": "more"}]}).status_code == 202
    take_all_room(server, "more ballast", 8)
    until(demo, path, "BLOCKED", FULL)
    assert demo.delete(path).status_code == 202
    wait_until_gone(demo, made)
    assert stack.belongings(made) == []


def test_an_administrator_whom_root_renamed_comes_back(stack: RunningStack, demo: httpx.Client) -> None:
    made, path, ask = a_database(demo, "postgresql")
    ask("CREATE TABLE t (n int)")
    root = demo.post(f"{path}/root").json()["user"]
    for statement in DIALECTS["postgresql"].harm["renamed"]:
        ask(statement, root["name"], root["password"])
    until(demo, path, "RESTARTING", RESTORING)
    assert demo.post(f"{path}/databases", json={"databases": [{"name": "more"}]}).status_code in (202, 422, 503)
    until(demo, path, "HEALTHY")
    assert demo.get(path).json()["instance"]["status"] == "ACTIVE"
    assert demo.post(f"{path}/databases", json={"databases": [{"name": "later"}]}).status_code == 202
    assert ask("SELECT count(*) FROM t") == [(0,)]
    assert demo.delete(path).status_code == 202
    wait_until_gone(demo, made)
    assert stack.belongings(made) == []
