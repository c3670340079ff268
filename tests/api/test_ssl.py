"""TLS through the API: certificates from Barbican, from the request and of our own, seen by clients; what is refused."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.keys.certificates import Certificate
from tests.api.conftest import PATIENCE, order, wait_for, wait_until_gone
from tests.contracts.engines import ENGINES
from tests.stack import RunningStack
from tests.tls.certificates import Authority
from tests.tls.client import TlsClient

AUTHORITY, PASSWORD = Authority(), "pa ss'word"
GOOD = AUTHORITY.server("192.0.2.1")
NOBODY = "http://barbican/v1/secrets/00000000-0000-4000-8000-000000000000"


@pytest.fixture(params=ENGINES)
def here(request: pytest.FixtureRequest, demo: httpx.Client) -> Iterator[tuple[str, TlsClient]]:
    """An instance of a test's own, and a tenant's client of it."""
    user = {"name": "amy", "password": PASSWORD, "databases": [{"name": "app"}]}
    instance_id = order(demo, f"tls-{request.param}", request.param, databases=[{"name": "app"}], users=[user])
    address = wait_for(demo, instance_id, "ACTIVE")["ip"][0]
    yield f"/instances/{instance_id}/ssl", TlsClient(request.param, address, "amy", PASSWORD)
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)


@dataclass
class Vault:
    """Barbican, as a member of a project asks it."""

    http: httpx.Client

    def keep(self, content: bytes | str) -> str:
        """A secret; return its URL."""
        body = {"payload": content, "payload_content_type": "text/plain"}
        if isinstance(content, bytes):
            body = {"payload": base64.b64encode(content).decode(), "payload_content_encoding": "base64",
                    "payload_content_type": "application/octet-stream"}  # fmt: skip
        answer = self.http.post("/v1/secrets", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["secret_ref"])

    def consumers(self, reference: str) -> list[dict[str, str]]:
        """Who uses it."""
        found = self.http.get(f"{reference}/consumers", headers={"OpenStack-API-Version": "key-manager 1.1"})
        return list(found.json()["consumers"])


@pytest.fixture(scope="session")
def vault(stack: RunningStack, demo: httpx.Client) -> Iterator[Vault]:
    """As the tenant."""
    url = f"http://127.0.0.1:{stack.settings.localcloud_port}/key-manager"
    with httpx.Client(base_url=url, headers={"X-Auth-Token": demo.headers["X-Auth-Token"]}) as http:
        yield Vault(http)


def change(demo: httpx.Client, path: str, **ssl: Any) -> dict[str, Any]:
    """Ask for it; return what it is in the end."""
    answer = demo.post(path, json={"ssl": ssl})
    assert answer.status_code == 200, answer.text
    assert answer.json()["ssl"]["restart_required"] is False
    return ended(demo, path)


def ended(demo: httpx.Client, path: str) -> dict[str, Any]:
    """Wait for the last operation; return what it is then."""
    deadline = time.monotonic() + PATIENCE
    while (state := demo.get(path.replace("/ssl", "/operations")).json()["operations"][0]["state"]) != "DONE":
        assert (state, time.monotonic() < deadline) == (
            "RUNNING",
            True,
        )  # a busy machine takes longer than the API waits
        time.sleep(0.1)
    changed: dict[str, Any] = demo.get(path).json()["ssl"]
    return changed


def enable(demo: httpx.Client, path: str, **ssl: Any) -> dict[str, Any]:
    """Enable it; return what it is in the end."""
    return change(demo, path, enable=True, **ssl)


def what_it_has(client: TlsClient) -> dict[str, Any]:
    """Without an order."""
    builtin = client.manager != "postgresql"
    return {"status": "on" if builtin else "off", "mode": "builtin" if builtin else None, "certificate": None}


def test_from_barbican_from_the_request_and_our_own(
    demo: httpx.Client, here: tuple[str, TlsClient], vault: Vault, tmp_path: Path
) -> None:
    path, client = here
    assert demo.get(path).json()["ssl"] == what_it_has(client)
    ca, secret = AUTHORITY.file(tmp_path), vault.keep(AUTHORITY.pkcs12(client.address, "right"))

    told = enable(demo, path, mode="enforced", container_ref=secret, password_ref=vault.keep("right"))
    assert (told["status"], told["mode"]) == ("on", "enforced")
    assert (told["certificate"]["cn"], told["certificate"]["san"]) == (client.address, [f"IP Address:{client.address}"])
    assert client.is_let_in(ca)
    assert not client.is_let_in(plain=True)
    instance_id = path.split("/")[2]
    consumer = {"service": "database", "resource_type": "instance", "resource_id": instance_id, "status": "ACTIVE"}
    assert vault.consumers(secret) == [consumer]

    other = Authority()
    sent = other.server(client.address)
    enable(demo, path, mode="mtls", certificate=sent.chain, key=sent.key, ca=sent.ca)
    assert vault.consumers(secret) == []
    assert client.is_let_in(other.file(tmp_path, "other.pem"), other.client(tmp_path))
    assert not client.is_let_in(other.file(tmp_path, "other.pem"))
    assert change(demo, path, rollback=True)["mode"] == "enforced"
    assert vault.consumers(secret) == [consumer]
    assert client.is_let_in(ca)
    assert "no earlier TLS" in demo.post(path, json={"ssl": {"rollback": True}}).text

    ours_and_none(demo, path, client, tmp_path)
    kinds = [each["kind"] for each in demo.get(path.replace("/ssl", "/operations")).json()["operations"]]
    assert kinds.count("change_tls") == (5 if client.manager == "mysql" else 6)
    enable(demo, path, container_ref=secret, password_ref=vault.keep("right"))
    assert demo.delete(path.removesuffix("/ssl")).status_code == 202
    assert vault.consumers(secret) == []


def ours_and_none(demo: httpx.Client, path: str, client: TlsClient, tmp_path: Path) -> None:
    """A certificate that we make, the server's own, and none."""
    assert enable(demo, path)["mode"] == "basic"  # our own
    shown = demo.get(path, params={"include_certificate": "True"}).json()["ssl"]["certificate"]
    (own := tmp_path / "own.pem").write_text(shown["ca"])
    assert client.is_let_in(own)
    assert client.is_let_in(plain=True)
    assert "PRIVATE" not in json.dumps(shown)
    assert enable(demo, path, mode="builtin")["mode"] == "builtin"
    assert not client.is_let_in(own)
    if client.manager == "mysql":
        refused = demo.post(path, json={"ssl": {"disable": True}})
        assert (refused.status_code, "Not supported" in refused.text) == (400, True)
    else:
        assert change(demo, path, disable=True) == what_it_has(client)


def pem(certificate: Certificate) -> dict[str, str]:
    """As a body has it."""
    return {"certificate": certificate.chain, "key": certificate.key}


@pytest.mark.parametrize(
    ("ssl", "why"),
    [
        ({}, "exactly one of"),
        ({"enable": True, "rollback": True}, "exactly one of"),
        ({"enable": True, "mode": "tls"}, "'tls' is none of"),
        ({"enable": True, "mode": "mtls"}, "mode mtls needs"),
        ({"enable": True, "mode": "mtls", **pem(GOOD)}, "needs the CA"),
        ({"enable": True, "certificate": GOOD.chain, "key": AUTHORITY.server("x").key}, "not the certificate's"),
        ({"enable": True, **pem(AUTHORITY.server("x", timedelta(days=-1)))}, "has expired"),
        ({"enable": True, "pkcs12": "no base64!"}, "base64"),
        ({"enable": True, "passphrase": "wrong", "pkcs12": base64.b64encode(AUTHORITY.pkcs12("x", "y")).decode()},
         "passphrase is wrong"),
        ({"enable": True, "container_ref": "http://elsewhere/v1/containers/1"}, "must be the URL of a secret"),
        ({"enable": True, "container_ref": NOBODY}, "no secret"),
        ({"rollback": True}, "no earlier TLS"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_changed(
    demo: httpx.Client, instances: dict[str, Any], ssl: dict[str, Any], why: str
) -> None:
    path = f"/instances/{instances['mariadb']['id']}"
    before = len(demo.get(f"{path}/operations").json()["operations"])
    answer = demo.post(f"{path}/ssl", json={"ssl": ssl})
    assert (answer.status_code, why in answer.text) == (400, True), answer.text
    assert len(demo.get(f"{path}/operations").json()["operations"]) == before


def test_a_secret_that_the_caller_may_not_read_is_refused(
    demo: httpx.Client, instances: dict[str, Any], stack: RunningStack, vault: Vault
) -> None:
    token, _ = stack.token("admin")
    with httpx.Client(base_url=vault.http.base_url, headers={"X-Auth-Token": token}) as http:
        others = Vault(http).keep(AUTHORITY.pkcs12("x", None))
    answer = demo.post(
        f"/instances/{instances['mariadb']['id']}/ssl", json={"ssl": {"enable": True, "container_ref": others}}
    )
    assert (answer.status_code, "that you may read" in answer.text) == (400, True)


def test_who_is_busy_is_not_changed_and_who_is_not_there_is_not_found(demo: httpx.Client) -> None:
    instance_id = order(demo, "tls-busy", "mariadb")
    answer = demo.post(f"/instances/{instance_id}/ssl", json={"ssl": {"enable": True}})
    assert answer.status_code == 422, answer.text
    demo.delete(f"/instances/{instance_id}")
    wait_until_gone(demo, instance_id)
    assert demo.get(f"/instances/{instance_id}/ssl").status_code == 404


def test_troves_client_changes_and_shows_it(
    demo: httpx.Client, openstack: Callable[..., Any], instances: dict[str, Any], vault: Vault
) -> None:
    instance = instances["mariadb"]
    secret = vault.keep(AUTHORITY.pkcs12(instance["ip"][0], None))
    made = openstack("database", "ssl", "enable", instance["id"], secret, "--mode", "basic", "-f", "json")
    assert set(made) == {"mode", "status", "restart_required", "certificate"}
    ended(demo, f"/instances/{instance['id']}/ssl")
    shown = openstack("database", "ssl", "show", instance["id"], "--include-certificate", "-f", "json")
    assert (shown["mode"], shown["status"]) == ("basic", "on")
    assert shown["certificate.payload"].startswith("-----BEGIN CERTIFICATE-----")
    openstack("database", "ssl", "rollback", instance["id"], "-f", "json")
    assert ended(demo, f"/instances/{instance['id']}/ssl")["mode"] == "builtin"
    openstack("database", "ssl", "disable", instance["id"], "-f", "json")
    assert ended(demo, f"/instances/{instance['id']}/ssl")["mode"] == "builtin"
