"""Bad input, wrong callers, wrong methods: always Trove's fault, never a 5xx."""

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import body, order, wait_until_gone
from tests.contracts.engines import DIALECTS
from tests.stack import RunningStack

NAMES = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 413: "overLimit",
         415: "badMediaType", 422: "unprocessableEntity", 501: "notImplemented",
         503: "serviceUnavailable"}  # fmt: skip


def is_fault(answer: httpx.Response, code: int) -> str:
    """Check the fault's shape; return its message."""
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert list(answer.json()) == [NAMES[code]]
    fault = answer.json()[NAMES[code]]
    assert fault["code"] == code
    assert fault["message"]
    return str(fault["message"])


def test_versions_need_no_token(stack: RunningStack) -> None:
    url = stack.settings.api_url
    (version,) = httpx.get(url).json()["versions"]
    assert version["id"] == "v1.0"
    assert version["links"] == [{"rel": "self", "href": f"{url}/v1.0/"}]
    for path in ("/v1.0", "/v1.0/"):
        assert httpx.get(url + path).json()["version"]["id"] == "v1.0"
    assert httpx.get(f"{url}/healthcheck").status_code == 200
    wrong = httpx.get(url, headers={"Accept": "application/vnd.openstack.trove+json;version=9.9"})
    assert wrong.json() == {"notAcceptable": {"code": 406, "message": "version not supported"}}
    assert httpx.get(f"{url}/v2.0/x").status_code == 404


def test_tokens(stack: RunningStack, demo: httpx.Client, admin: httpx.Client) -> None:
    base = str(demo.base_url).rstrip("/")
    for headers in ({}, {"X-Auth-Token": "nonsense"}, {"X-Auth-Token": "gAAAA" * 50}, {"X-Auth-Token": "a b"}):
        answer = httpx.get(f"{base}/instances", headers=headers)
        is_fault(answer, 401)
        assert answer.headers["www-authenticate"].startswith('Keystone uri="')
    message = is_fault(httpx.get(f"{base}/instances", headers={"X-Auth-Token": admin.headers["X-Auth-Token"]}), 403)
    assert "cannot access this resource" in message
    is_fault(demo.get("/mgmt/instances"), 401)
    is_fault(demo.get(""), 404)


def test_a_revoked_token_is_refused_within_the_cache_s_time(stack: RunningStack) -> None:
    token, project = stack.token("demo")
    url = f"{stack.settings.api_url}/v1.0/{project}/limits"
    httpx.delete(f"{stack.settings.keystone_url}/auth/tokens",
                 headers={"X-Auth-Token": token, "X-Subject-Token": token}).raise_for_status()  # fmt: skip
    assert httpx.get(url, headers={"X-Auth-Token": token}).status_code == 401


def test_another_project_s_things_are_not_found(demo: httpx.Client, admin: httpx.Client) -> None:
    foreign = order(admin, "not-of-demo", "mariadb")
    try:
        for verb, path in (("GET", ""), ("DELETE", ""), ("GET", "/users"), ("GET", "/operations"), ("POST", "/root"),
                           ("POST", "/databases"), ("GET", "/root"), ("DELETE", "/users/amy")):  # fmt: skip
            is_fault(demo.request(verb, f"/instances/{foreign}{path}"), 404)
        for verb, path, content in (("PUT", "", {"instance": {"name": "mine"}}), ("POST", "/action", {"restart": {}})):
            is_fault(demo.request(verb, f"/instances/{foreign}{path}", json=content), 404)
        is_fault(demo.get("/instances/not-of-demo"), 404)
        assert foreign not in demo.get("/instances").text
    finally:
        assert admin.delete(f"/instances/{foreign}").status_code == 202
    wait_until_gone(admin, foreign)


def test_slashes_and_methods(demo: httpx.Client, stack: RunningStack) -> None:
    headers = {"X-Auth-Token": demo.headers["X-Auth-Token"]}
    base = str(demo.base_url).rstrip("/")
    assert httpx.get(f"{base}//instances", headers=headers).status_code == 200
    assert httpx.get(f"{base}/instances/", headers=headers).status_code == 200
    is_fault(httpx.get(f"{base}/nothing", headers=headers), 404)
    is_fault(httpx.request("PUT", f"{base}/limits", headers=headers), 404)
    is_fault(httpx.get(f"{base}/extensions", headers=headers), 404)
    assert httpx.get(f"{base}/instances/%ff%fe", headers=headers).status_code == 400
    assert httpx.get(f"{base}/instances/a%00b", headers=headers).status_code == 400
    with_body = httpx.request("GET", f"{base}/limits", headers=headers, content=b"{nonsense")
    assert with_body.status_code == 200


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"null", b'"x"', b"\xff\xfe", b'{"x": 1}', b'{"instance": NaN}', b'{"instance": 1e400}',
     b'{"instance": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}", b"[" * 50_000, b'{"instance": {"name": "a\\u0000b"}}',
     b'{"instance": {"name": "\\ud800"}}', b'{"instance": null}', b'{"instance": []}'],
)  # fmt: skip
def test_what_is_no_order_is_400(demo: httpx.Client, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    is_fault(demo.post("/instances", content=content, headers=headers), 400)


def test_content_types(demo: httpx.Client) -> None:
    is_fault(demo.post("/instances", content=b"<a/>", headers={"Content-Type": "application/xml"}), 415)
    is_fault(demo.post("/instances", data={"a": "b"}), 415)
    without_a_type = json.dumps(wrong(volume={"size": 0})).encode()  # is read all the same
    assert "volume" in is_fault(demo.post("/instances", content=without_a_type), 400)
    is_fault(demo.post("/instances", content=b" " * 300_000, headers={"Content-Type": "application/json"}), 413)


def wrong(**change: Any) -> dict[str, Any]:
    """A good order with one thing wrong."""
    content = body("fine", "mariadb")
    for path, value in change.items():
        if value is ...:
            content["instance"].pop(path)
        else:
            content["instance"][path] = value
    return content


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"name": ...}, 400, "name"),
        ({"name": ""}, 400, "name"),
        ({"name": "!!!"}, 400, "name"),
        ({"name": 5}, 400, "name"),
        ({"name": "x" * 256}, 400, "name"),
        ({"flavorRef": ...}, 400, "flavorRef"),
        ({"flavorRef": "no-such"}, 400, "no-such"),
        ({"flavorRef": {}}, 400, "flavorRef"),
        ({"volume": ...}, 400, "volume"),
        ({"volume": {"size": 0}}, 400, "volume"),
        ({"volume": {"size": -1}}, 400, "volume"),
        ({"volume": {"size": True}}, 400, "volume"),
        ({"volume": {"size": 1.5}}, 400, "volume"),
        ({"volume": {"size": "big"}}, 400, "volume"),
        ({"volume": {"size": 5000}}, 413, "5000"),
        ({"volume": {"size": 1, "type": "no-such"}}, 400, "no-such"),
        ({"datastore": {"type": "oracle"}}, 404, "oracle"),
        ({"datastore": {"type": "mariadb", "version": "1"}}, 400, "'1'"),
        ({"nics": [{"net-id": "no-such"}]}, 400, "no-such"),
        ({"nics": [{"net-id": "a"}, {"net-id": "b"}]}, 400, "nics"),
        ({"nics": [{"mac": "a"}]}, 400, "mac"),
        ({"nics": [{}]}, 400, "nics"),
        ({"nics": [{"net-id": "a", "ip_address": "10.0.0.1"}]}, 400, "subnet"),
        ({"locality": "nearby"}, 400, "locality"),
        ({"access": {"is_public": "yes"}}, 400, "is_public"),
        ({"access": {"allowed_cidrs": ["300.1.1.1/8"]}}, 400, "allowed_cidrs"),
        ({"configuration": "no-such"}, 404, "no-such"),
        ({"restorePoint": {"backupRef": "no-such"}}, 404, "no-such"),
        ({"modules": [{"id": "no-such"}]}, 404, "no-such"),
        ({"region_name": "elsewhere"}, 400, "elsewhere"),
        ({"users": [{"name": "amy", "password": "x", "databases": [{"name": "not-there"}]}]}, 400, "not-there"),
        ({"databases": [{"name": "a"}, {"name": "a"}]}, 400, "twice"),
        ({"databases": [{"name": "mysql"}]}, 400, "reserved"),
        ({"replica_of": "00000000-0000-4000-8000-000000000000"}, 501, "Replicas"),
        ({"replica_count": 1}, 400, "replica_count needs replica_of"),
        ({"replica_count": 0}, 400, "replica_count"),
        ({"replica_count": 0, "replica_of": "00000000-0000-4000-8000-000000000000"}, 400, "replica_count"),
        ({"replica_count": 4, "replica_of": "00000000-0000-4000-8000-000000000000"}, 400, "replica_count"),
        ({"replica_count": True, "replica_of": "00000000-0000-4000-8000-000000000000"}, 400, "replica_count"),
        ({"replica_of": "00000000-0000-4000-8000-000000000000", "slave_of": "x"}, 400, "two instances"),
        ({"flavor": "2"}, 400, "two flavors"),
        ({"flavorRef": ..., "flavor": {"id": "no-such"}}, 400, "no-such"),
        ({"flavorRef": ..., "flavor": {"name": "m1.tiny"}}, 400, "flavor"),
        ({"flavorRef": ".."}, 400, "'..' cannot be found"),
        ({"flavorRef": "?all_tenants=1"}, 400, "cannot be found"),
        ({"availability_zone": "nova:host:node"}, 400, "availability_zone"),
        ({"availability_zone": "nova/host"}, 400, "availability_zone"),
        ({"availability_zone": "elsewhere"}, 400, "elsewhere"),
        ({"access": {"allowed_cidrs": ["10.0.0.0/0.0.0.255"]}}, 400, "allowed_cidrs"),
        ({"configuration_id": "x"}, 400, "configuration_id"),
    ],
)
def test_a_wrong_order_names_its_fault_and_leaves_nothing(
    demo: httpx.Client, stack: RunningStack, change: dict[str, Any], code: int, named: str
) -> None:
    before = stack.sql("SELECT count(*) FROM instances")
    message = is_fault(demo.post("/instances", json=wrong(**change)), code)
    assert named in message
    assert stack.sql("SELECT count(*) FROM instances") == before


def test_a_foreign_network_is_refused(demo: httpx.Client, stack: RunningStack) -> None:
    conn = stack.cloud("admin")
    foreign = conn.network.create_network(name="hidden-from-demo")
    try:
        for nic in ({"net-id": foreign.id}, {"net-id": "hidden-from-demo"}):
            assert "cannot be found" in is_fault(demo.post("/instances", json=wrong(nics=[nic])), 400)
    finally:
        conn.network.delete_network(foreign)


@pytest.mark.parametrize(
    "action",
    [{}, {"explode": {}}, {"restart": {}, "resize": {}}, [], None, {"reset-status": {}}, {"restart": {"hard": True}},
     {"resize": {}}, {"resize": None}, {"resize": {"flavorRef": None}}, {"resize": {"flavor": "2"}}, {"resize": "2"},
     {"resize": {"flavorRef": "2", "volume": {"size": 2}}}, {"resize": {"flavorRef": []}},
     {"restart": "now"}, {"reset_status": {"force": True}}, {"restart": []}],
)  # fmt: skip
def test_unknown_actions(demo: httpx.Client, instances: dict[str, Any], action: Any) -> None:
    is_fault(demo.post(f"/instances/{instances['mariadb']['id']}/action", json=action), 400)
    is_fault(demo.post("/instances/00000000-0000-4000-8000-000000000000/action", json=action), 400)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"name": ""}, 400), ({"colour": "red"}, 400), ({"name": "a", "configuration": None, "replica_of": None}, 400),
     ({"replica_of": None}, 400), ({"configuration": "no-such"}, 404), ({"configuration": None}, 202), ({}, 202),
     ({"datastore_version": "12"}, 400)],
)  # fmt: skip
def test_changes(demo: httpx.Client, instances: dict[str, Any], change: dict[str, Any], code: int) -> None:
    answer = demo.put(f"/instances/{instances['mariadb']['id']}", json={"instance": change})
    assert answer.status_code == code
    if code != 202:
        is_fault(answer, code)
    shown = demo.get(f"/instances/{instances['mariadb']['id']}").json()["instance"]
    assert "fault" not in shown  # a refused request leaves none


def test_every_other_route_says_what_is_missing(
    demo: httpx.Client, admin: httpx.Client, instances: dict[str, Any]
) -> None:
    from api.routes.missing import ADMIN, ITEMS, ROUTES

    names = {"{instance_id}": instances["mariadb"]["id"]}
    for method, path, rule in ROUTES:
        for name, value in names.items():
            path = path.replace(name, value)
        path = path.replace("{", "").replace("}", "")
        assert method.split()[0] in is_fault(admin.request(method, path, json={}), 501)
        if rule == ADMIN:
            is_fault(demo.request(method, path, json={}), 401)
        if instances["mariadb"]["id"] in path:
            ghost = path.replace(instances["mariadb"]["id"], "00000000-0000-4000-8000-000000000000")
            is_fault(admin.request(method, ghost, json={}), 404)
    for method, path, _ in ITEMS:
        is_fault(demo.request(method, path.replace("{", "").replace("}", ""), json={}), 404)
    for collection in ("backups", "backup_strategies", "configurations", "clusters", "modules"):
        assert demo.get(f"/{collection}").json() == {collection: []}


def test_the_catalogue(demo: httpx.Client, admin: httpx.Client) -> None:
    found = {each["name"]: each for each in demo.get("/datastores").json()["datastores"]}
    assert set(found) == set(DIALECTS)  # the engines that are on this machine
    mariadb = found["mariadb"]
    (version,) = [each for each in mariadb["versions"] if each["id"] == mariadb["default_version"]]
    assert "active" not in version
    assert all(each["active"] is True for each in admin.get("/datastores/mariadb").json()["datastore"]["versions"])
    assert demo.get(f"/datastores/versions/{version['id']}").json()["version"]["name"] == version["name"]
    assert demo.get(f"/datastores/{mariadb['id']}/versions/{version['name']}").json()["version"]["id"] == version["id"]
    flavors = demo.get(f"/datastores/mariadb/versions/{version['id']}/flavors").json()["flavors"]
    assert [(each["id"], each["name"], each["ram"]) for each in flavors] == [
        (1, "m1.tiny", 1024), (2, "m1.small", 2048), (3, "m1.medium", 4096)]  # fmt: skip
    types = demo.get(f"/datastores/mariadb/versions/{version['id']}/volume-types").json()["volume_types"]
    assert [each["name"] for each in types] == ["standard"]
    assert demo.get("/limits").json()["limits"][0] == {
        "verb": "ABSOLUTE", "max_instances": 10, "max_volumes": 40, "max_ram": -1, "max_backups": 50}  # fmt: skip
    is_fault(demo.get("/datastores/oracle"), 404)
    is_fault(demo.get("/datastores/mariadb/versions/0"), 404)
    is_fault(demo.get("/flavors/99"), 404)


def test_an_inactive_version_is_not_offered_and_cannot_be_ordered(demo: httpx.Client, stack: RunningStack) -> None:
    stack.sql("UPDATE datastore_versions SET active = false WHERE manager = 'postgresql'")
    try:
        assert "postgresql" not in [each["name"] for each in demo.get("/datastores").json()["datastores"]]
        assert "not active" in is_fault(demo.post("/instances", json=body("x", "postgresql")), 400)
    finally:
        stack.sql("UPDATE datastore_versions SET active = true")
