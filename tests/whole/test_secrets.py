"""Secrets that users and the stack planted are nowhere but where they belong."""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import httpx

from deploy import temporal
from deploy.postgres import programs
from deploy.secrets import password
from tests.api.conftest import order, wait_for, wait_until_gone
from tests.stack import RunningStack
from tests.tls.certificates import Authority

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
        certificate = Authority().server("192.0.2.1")
        sent = {"enable": True, "certificate": certificate.chain, "key": certificate.key, "mode": "enforced"}
        _ok(demo.post(f"{path}/ssl", json={"ssl": sent}))
        assert certificate.key not in demo.get(f"{path}/ssl?include_certificate=true").text
        planted |= {"TLS key": certificate.key.splitlines()[1]}
        planted |= {"made": made, "token": demo.headers["X-Auth-Token"]}
        token, cookie, shown = what_operators_see(stack, instance_id)
        planted |= what_the_guest_holds(stack)
        arguments = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
        paths = everything_written(stack) | {"process arguments": arguments.encode(), "opened histories": shown}
        _ok(demo.delete(path))
        wait_until_gone(demo, instance_id)
    planted |= {"operator's token": token, "operator's cookie": cookie}
    for name in ("master.key", "guests.key", "gateway/key.pem", "gateway/ca-key.pem"):
        planted |= {f"{name} {each[:3]}": each for each in (stack.settings.secrets / name).read_text().split()
                    if len(each) >= 32}  # fmt: skip
    planted |= {f"account {name}": password(stack.settings, name) for name in ("admin", "demo", "coffer", "records")}
    found = [f"{name} in {place}" for place, content in paths.items() for name, secret in planted.items()
             if secret.encode() in content]  # fmt: skip
    assert found == []
    assert NAME.encode() not in paths["Temporal's file"]  # payloads are sealed whole
    assert NAME.encode() in paths["opened histories"]


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


def what_the_guest_holds(stack: RunningStack) -> dict[str, str]:
    """Tokens and keys of all guests, and the tickets that they enrolled with: read off the disks of their servers."""
    found: dict[str, str] = {}
    for root in (stack.settings.open_home / "cloud/servers").glob("*/root"):
        kept, boot = root / "var/lib/guest/identity.json", root / "etc/coffer/guest.json"
        if kept.exists():
            known = json.loads(kept.read_text())
            server = root.parent.name
            found |= {
                f"token of {server}": known["token"],
                f"ticket of {server}": json.loads(boot.read_text())["ticket"],
            }
            found |= {f"key {epoch} of {server}": key for epoch, key in known["credentials"]["keys"].items()}
    assert len(found) >= 3
    return found


def what_operators_see(stack: RunningStack, instance_id: str) -> tuple[str, str, bytes]:
    """Log in at the codec server by token and by password; return both secrets, and all histories that it opens."""
    url, token = stack.settings.codec_url, stack.token("admin")[0]
    form = {"user": "admin", "password": password(stack.settings, "admin"), "project": "admin",
            "user_domain": "Default", "project_domain": "Default"}  # fmt: skip
    logged_in = httpx.post(f"{url}/login", data=form, headers={"Origin": url})
    _ok(logged_in, 303)
    environment = {"PATH": os.environ["PATH"], "HOME": str(stack.settings.home),
                   "TEMPORAL_ADDRESS": f"127.0.0.1:{stack.settings.temporal_port}",
                   "TEMPORAL_NAMESPACE": temporal.NAMESPACE, "TEMPORAL_CODEC_ENDPOINT": url,
                   "TEMPORAL_CODEC_AUTH": f"Bearer {token}"}  # fmt: skip

    def ask(*words: str) -> bytes:
        program = temporal.binary(Path(sys.executable))
        command = [program, "workflow", *words, "--output", "json"]
        return subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout

    runs = json.loads(ask("list", "--query", f"InstanceId = '{instance_id}'"))
    ids = [each["execution"]["workflowId"] for each in runs]
    run_ids = [each["execution"]["runId"] for each in runs]  # a lock's id is that of many runs
    assert f"group/{instance_id}" in ids
    assert any(each.startswith("root/") for each in ids)
    return (
        token,
        logged_in.cookies["coffer-codec"],
        b"".join(
            with_data(ask("show", "--workflow-id", name, "--run-id", run))
            for name, run in zip(ids, run_ids, strict=True)
        ),
    )


def with_data(history: bytes) -> bytes:
    """A history, and what its payloads hold in base64."""
    return b"\n".join([history, *map(base64.b64decode, re.findall(rb'"data": "([\w+/=]*)"', history))])


def _ok(answer: httpx.Response, code: int | None = None) -> None:
    assert answer.status_code == code or (code is None and answer.is_success), answer.text
