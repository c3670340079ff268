"""What administrators ask of guests, and modules, of which there are none."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import order, wait_until_gone
from tests.api.test_faults import is_fault
from tests.contracts.engines import ENGINES

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("datastore", ENGINES)
def test_a_guest_tells_of_its_process_and_its_server(
    admin: httpx.Client, instances: dict[str, dict[str, Any]], datastore: str
) -> None:
    path = f"/mgmt/instances/{instances[datastore]['id']}"
    found = admin.get(f"{path}/diagnostics").json()["diagnostics"]
    assert found["version"]
    assert 0 < found["vmRss"] <= found["vmHwm"] <= found["vmPeak"]
    assert found["threads"] > 1
    hardware = admin.get(f"{path}/hwinfo").json()["hwinfo"]
    assert hardware["mem_total"] >= 512 * 1024
    assert hardware["num_cpus"] >= 1
    answer = admin.get(f"{path}/rpc_ping")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "image" in is_fault(admin.post(f"{path}/upgrade", json={"upgrade": {}}), 400)


def test_it_is_for_administrators_and_of_what_has_a_server(
    demo: httpx.Client, admin: httpx.Client, instances: dict[str, dict[str, Any]]
) -> None:
    fresh = order(demo, "not-yet", "mariadb")
    for name in ("diagnostics", "hwinfo", "rpc_ping"):
        is_fault(demo.get(f"/mgmt/instances/{instances['mariadb']['id']}/{name}"), 401)
        is_fault(admin.get(f"/mgmt/instances/{NOBODY}/{name}"), 404)
    is_fault(admin.get(f"/mgmt/instances/{fresh}/rpc_ping"), 422)
    demo.delete(f"/instances/{fresh}")
    wait_until_gone(demo, fresh)


def test_there_are_no_modules(demo: httpx.Client, instances: dict[str, dict[str, Any]]) -> None:
    path = f"/instances/{instances['mariadb']['id']}/modules"
    assert demo.get("/modules").json() == {"modules": []}
    assert demo.get(path).json() == {"modules": []}
    assert demo.post(path, json={"modules": []}).json() == {"modules": []}
    assert NOBODY in is_fault(demo.post(path, json={"modules": [{"id": NOBODY}]}), 404)
    bad: list[dict[str, Any]] = [{}, {"modules": [{}]}, {"modules": [{"id": NOBODY, "x": 1}]}, {"module": []}]
    for wrong in bad:
        is_fault(demo.post(path, json=wrong), 400)
    is_fault(demo.delete(f"{path}/{NOBODY}"), 404)
    is_fault(demo.get(f"/modules/{NOBODY}"), 404)
    is_fault(demo.post("/modules", json={"module": {"name": "x"}}), 501)
    is_fault(demo.get(f"/instances/{NOBODY}/modules"), 404)
