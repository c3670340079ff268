"""Secrets that users and the stack planted are nowhere but where they belong."""

import secrets
import subprocess
from pathlib import Path

import httpx

from deploy.postgres import programs
from deploy.secrets import password
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.stack import RunningStack

NAME = "somebody_with_a_telling_name"


def test_no_secret_is_in_histories_records_logs_or_arguments(stack: RunningStack) -> None:
    planted = {name: f"planted-{name}-{secrets.token_hex(8)}" for name in ("first", "second", "third", "root")}
    with stack.api("demo") as demo:
        instance_id = order(demo, "with-secrets", "mariadb", databases=[{"name": "app"}],
                            users=[{"name": NAME, "password": planted["first"]}])  # fmt: skip
        wait_for(demo, instance_id, "ACTIVE")
        path = f"/instances/{instance_id}"
        _ok(demo.post(f"{path}/users", json={"users": [{"name": "bob", "password": planted["second"]}]}))
        _ok(demo.put(f"{path}/users/bob", json={"user": {"password": planted["third"]}}))
        made = demo.post(f"{path}/root").json()["user"]["password"]
        _ok(demo.post(f"{path}/root", json={"password": planted["root"]}))
        _ok(demo.post(f"{path}/users", json={"users": [{"name": "bob", "password": planted["second"]}]}), 400)
        planted |= {"made": made, "token": demo.headers["X-Auth-Token"]}
        arguments = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
        places = everything_written(stack) | {"process arguments": arguments.encode()}
        _ok(demo.delete(path))
        wait_until_gone(demo, instance_id)
    planted["master key"] = (stack.settings.secrets / "master.key").read_text().strip()
    planted |= {f"account {name}": password(stack.settings, name) for name in ("admin", "demo", "coffer", "records")}
    found = [f"{name} in {place}" for place, content in places.items() for name, secret in planted.items()
             if secret.encode() in content]  # fmt: skip
    assert found == []
    assert NAME.encode() not in places["Temporal's file"]  # payloads are sealed whole


def everything_written(stack: RunningStack) -> dict[str, bytes]:
    """Temporal's file, a dump of the records, and every log: the stack's and the guests' consoles."""
    home = stack.settings.home
    found = {"Temporal's file": b"".join(each.read_bytes() for each in (home / "temporal").iterdir())}
    assert len(found["Temporal's file"]) > 100_000
    found["the records"] = subprocess.run(
        [str(programs() / "pg_dump"), "-h", "127.0.0.1", "-p", str(stack.settings.records_port), "-U", "coffer", "coffer"],
        env={"PGPASSFILE": str(stack.settings.secrets / "pgpass")}, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"with-secrets" in found["the records"]
    consoles = (stack.settings.open_home / "cloud/servers").glob("*/console.log")
    for path in (*(home / "log").glob("*.log*"), *consoles):
        found[str(Path(*path.parts[-2:]))] = path.read_bytes()
    assert len(found) > 9
    return found


def _ok(answer: httpx.Response, code: int | None = None) -> None:
    assert answer.status_code == code or (code is None and answer.is_success), answer.text
