"""Configuration groups as records: what is taken, what is refused and how, who sees them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.test_faults import is_fault

POSTGRESQL = {"type": "postgresql"}


def made(client: httpx.Client, name: str, values: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A new group."""
    body = {"configuration": {"name": name, "values": values, "datastore": POSTGRESQL, **more}}
    answer = client.post("/configurations", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["configuration"]
    return found


@pytest.fixture
def group(demo: httpx.Client) -> Iterator[dict[str, Any]]:
    """A group, gone afterwards."""
    found = made(demo, "a group", {"work_mem": 8192}, description="for tests")
    yield found
    demo.delete(f"/configurations/{found['id']}")


def test_the_life_of_a_group(demo: httpx.Client) -> None:
    found = made(demo, "größe ✓", {"Work_Mem": "8MB", "random_page_cost": 2, "autovacuum": True}, description="d")
    path = f"/configurations/{found['id']}"
    assert found["values"] == {"work_mem": "8MB", "random_page_cost": 2, "autovacuum": True}
    assert (found["instance_count"], found["datastore_name"], found["description"]) == (0, "postgresql", "d")
    assert found["datastore_version_number"] == found["datastore_version_name"] == "15"
    shown = demo.get(path)
    assert (shown.status_code, shown.json()) == (200, {"configuration": found})
    assert demo.get("/configurations/größe ✓").json()["configuration"]["id"] == found["id"]
    answer = demo.patch(path, json={"configuration": {"values": {"WORK_MEM": 4096, "jit": False}}})
    assert (answer.status_code, answer.content) == (200, b"")
    values = {"work_mem": 4096, "random_page_cost": 2, "autovacuum": True, "jit": False}
    assert demo.get(path).json()["configuration"]["values"] == values
    answer = demo.put(path, json={"configuration": {"name": "new", "values": {"jit": True}}})
    assert (answer.status_code, answer.content) == (202, b"")
    changed = demo.get(path).json()["configuration"]
    assert (changed["name"], changed["description"], changed["values"]) == ("new", "d", {"jit": True})
    assert demo.put(path, json={"configuration": {"description": "e"}}).status_code == 202
    assert demo.get(path).json()["configuration"]["values"] == {}
    assert demo.get(f"{path}/instances").json() == {"instances": []}
    answer = demo.delete(path)
    assert (answer.status_code, answer.content) == (202, b"")
    assert is_fault(demo.get(path), 404)
    assert is_fault(demo.delete(path), 404)


WRONG_VALUES = [
    ({"no_such": 1}, "not supported"),
    ({"archive_command": "rm -rf /"}, "not supported"),
    ({"shared_preload_libraries": "x"}, "not supported"),
    ({"fsync": False}, "not supported"),
    ({"work_mem": "much"}, "not of type integer"),
    ({"work_mem": 8192.0}, "not of type integer"),
    ({"work_mem": True}, "not of type integer"),
    ({"work_mem": None}, "not of type integer"),
    ({"work_mem": [1]}, "not of type integer"),
    ({"work_mem": {"a": 1}}, "not of type integer"),
    ({"work_mem": "8192"}, "not of type integer"),
    ({"work_mem": "5min"}, "not of type integer"),
    ({"work_mem": "1B"}, "not of type integer"),
    ({"work_mem": 63}, "less than the minimum"),
    ({"work_mem": 10**30}, "greater than the maximum"),
    ({"work_mem": "100TB"}, "greater than the maximum"),
    ({"jit": 1}, "not of type boolean"),
    ({"jit": "on"}, "not of type boolean"),
    ({"random_page_cost": "2"}, "not of type float"),
    ({"random_page_cost": True}, "not of type float"),
    ({"random_page_cost": -1.5}, "less than the minimum"),
    ({"plan_cache_mode": "sometimes"}, "must be one of"),
    ({"plan_cache_mode": 3}, "not of type string"),
    ({"plan_cache_mode": "auto'\nfsync = 'off"}, None),
    ({"huge_pages": "on"}, "must be one of"),
    ({"timezone": "Europe/Nowhere"}, "must be one of"),
    ({"jit": True, "JIT": True}, "given twice"),
    ({"\u0130jit": True}, "not supported"),
    ({"": 1}, "not supported"),
]


@pytest.mark.parametrize(("values", "why"), WRONG_VALUES, ids=lambda each: json.dumps(each)[:40])
def test_values_that_are_refused_change_nothing(
    demo: httpx.Client, group: dict[str, Any], values: dict[str, Any], why: str | None
) -> None:
    path, code = f"/configurations/{group['id']}", 422 if why else 400
    answers = [
        demo.post("/configurations", json={"configuration": {"name": "x", "values": values, "datastore": POSTGRESQL}}),
        demo.put(path, json={"configuration": {"values": values}}),
        demo.patch(path, json={"configuration": {"values": values}}),
    ]
    for each in answers:
        assert is_fault(each, code), each.text
        assert (why or "control characters") in each.text
    assert demo.get(path).json()["configuration"]["values"] == {"work_mem": 8192}


def test_all_mistakes_are_named_in_one_answer(demo: httpx.Client) -> None:
    values = {"work_mem": 1, "jit": 3, "no_such": 1}
    answer = demo.post(
        "/configurations", json={"configuration": {"name": "x", "values": values, "datastore": POSTGRESQL}}
    )
    assert is_fault(answer, 422)
    assert all(name in answer.text for name in values)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400), ({"configuration": {}}, 400), ({"configuration": {"name": "x"}}, 400),
        ({"configuration": {"values": {}, "datastore": POSTGRESQL}}, 400),
        ({"configuration": {"name": "", "values": {}, "datastore": POSTGRESQL}}, 400),
        ({"configuration": {"name": "n" * 256, "values": {}, "datastore": POSTGRESQL}}, 400),
        ({"configuration": {"name": "x", "values": [], "datastore": POSTGRESQL}}, 400),
        ({"configuration": {"name": "x", "values": {}, "datastore": POSTGRESQL, "more": 1}}, 400),
        ({"configuration": {"name": "x", "values": {}, "datastore": {"type": "none-such"}}}, 404),
        ({"configuration": {"name": "x", "values": {}, "datastore": {"type": "mysql", "version": "0.1"}}}, 400),
    ],
)  # fmt: skip
def test_bodies_that_are_refused(demo: httpx.Client, body: Any, code: int) -> None:
    assert is_fault(demo.post("/configurations", json=body), code)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_what_is_no_number(demo: httpx.Client, number: str) -> None:
    text = f'{{"configuration": {{"name": "x", "values": {{"work_mem": {number}}}, "datastore": {{"type": "postgresql"}}}}}}'
    answer = demo.post("/configurations", content=text, headers={"content-type": "application/json"})
    assert is_fault(answer, 400)


def test_the_version_of_a_group_stays(demo: httpx.Client, group: dict[str, Any]) -> None:
    path = f"/configurations/{group['id']}"
    same = {"values": {"jit": True}, "datastore": {"type": "postgresql", "version": "15"}}
    assert demo.patch(path, json={"configuration": same}).status_code == 200
    other = {**same, "datastore": {"type": "mariadb"}}
    assert is_fault(demo.patch(path, json={"configuration": other}), 400)
    assert is_fault(demo.put(path, json={"configuration": other}), 400)


def test_a_group_is_its_project_s_alone(demo: httpx.Client, admin: httpx.Client, group: dict[str, Any]) -> None:
    path = f"/configurations/{group['id']}"
    assert admin.get("/configurations").json()["configurations"] == []
    for method, body in (("GET", None), ("PUT", {"configuration": {}}), ("DELETE", None),
                         ("PATCH", {"configuration": {"values": {}}})):  # fmt: skip
        assert is_fault(admin.request(method, path, json=body), 404)
    assert is_fault(admin.get(f"{path}/instances"), 404)


def test_pages(demo: httpx.Client) -> None:
    made_here = [made(demo, f"page-{number}", {})["id"] for number in range(5)]
    seen: list[str] = []
    path: str | None = "/configurations?limit=2"
    while path:
        page = demo.get(path).json()
        assert len(page["configurations"]) <= 2
        seen += [each["id"] for each in page["configurations"]]
        assert page.get("links") == page.get("configurations_links")
        path = page["links"][0]["href"] if "links" in page else None
    assert len(seen) == len(set(seen))
    assert set(made_here) <= set(seen)
    for each in made_here:
        assert demo.delete(f"/configurations/{each}").status_code == 202


def test_the_same_key_makes_one(demo: httpx.Client) -> None:
    body = {"configuration": {"name": "once", "values": {"jit": True}, "datastore": POSTGRESQL}}
    headers = {"Idempotency-Key": "one-group"}
    first, second = (demo.post("/configurations", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    named = [each for each in demo.get("/configurations").json()["configurations"] if each["name"] == "once"]
    assert len(named) == 1
    demo.delete(f"/configurations/{named[0]['id']}")


@pytest.mark.parametrize("datastore", ["mariadb", "mysql", "postgresql"])
def test_parameters(demo: httpx.Client, datastore: str) -> None:
    found = demo.get(f"/datastores/{datastore}").json()
    if "datastore" not in found:
        pytest.skip(f"{datastore} is not offered here")
    version = found["datastore"]["versions"][0]
    by_name = demo.get(f"/datastores/{datastore}/versions/{version['name']}/parameters").json()
    assert by_name == demo.get(f"/datastores/versions/{version['id']}/parameters").json()
    listed = by_name["configuration-parameters"]
    assert len(listed) > 100
    assert {each["type"] for each in listed} == {"boolean", "float", "integer", "string"}
    assert {each["restart_required"] for each in listed} == {True, False}
    assert all(each["datastore_version_id"] == version["id"] for each in listed)
    one = next(each for each in listed if each["name"] == "max_connections")
    assert demo.get(f"/datastores/{datastore}/versions/{version['id']}/parameters/max_connections").json() == one
    assert demo.get(f"/datastores/versions/{version['id']}/parameters/MAX_connections").json() == one
    assert is_fault(demo.get(f"/datastores/versions/{version['id']}/parameters/archive_command"), 404)
    assert is_fault(demo.get("/datastores/versions/none-such/parameters"), 400)
    assert is_fault(demo.get(f"/datastores/{datastore}/versions/none-such/parameters"), 404)


def test_administrators_take_from_what_is_offered(demo: httpx.Client, admin: httpx.Client) -> None:
    version = demo.get("/datastores/postgresql").json()["datastore"]["versions"][0]["id"]
    managed = f"/mgmt/datastores/versions/{version}/parameters"

    def rule(method: str, path: str, **said: Any) -> httpx.Response:
        return admin.request(method, path, json={"configuration-parameter": said})

    assert is_fault(demo.get(managed), 401)
    listed = admin.get(managed).json()["configuration-parameters"]
    assert {"name", "min_size", "max_size", "type", "restart_required"} <= set(listed[0]) | {"min_size", "max_size"}
    one = f"{managed}/work_mem"
    before = admin.get(one).json()
    assert rule("PUT", one, min_size=100, max_size=200, data_type="integer", restart_required=0).json() == {
        **before, "min_size": 100, "max_size": 200}  # fmt: skip
    try:
        body = {"configuration": {"name": "x", "values": {"work_mem": 201}, "datastore": POSTGRESQL}}
        assert "greater than the maximum allowed: 200" in is_fault(demo.post("/configurations", json=body), 422)
        shown = demo.get(f"/datastores/versions/{version}/parameters/work_mem").json()
        assert (shown["min"], shown["max"]) == (100, 200)
        assert admin.delete(one).status_code == 204
        assert "not supported" in is_fault(demo.post("/configurations", json=body), 422)
        assert is_fault(admin.delete(one), 400)
        assert is_fault(admin.get(one), 404)
    finally:
        assert rule("POST", managed, name="work_mem").status_code == 200
    assert admin.get(one).json() == before
    assert "already exists" in is_fault(rule("POST", managed, name="work_mem"), 400)
    assert "not one that guests" in is_fault(rule("POST", managed, name="archive_command"), 400)
    for said in ({"min_size": 1}, {"max_size": 2**40}, {"min_size": 300, "max_size": 200}, {"data_type": "string"},
                 {"restart_required": 1}, {"min_size": "1"}, {"name": "jit"}, {"more": 1}):  # fmt: skip
        assert is_fault(rule("PUT", one, **said), 400), said
    assert is_fault(rule("PUT", f"{managed}/no_such", min_size=1), 404)
    assert is_fault(admin.get("/mgmt/datastores/versions/none-such/parameters"), 400)
