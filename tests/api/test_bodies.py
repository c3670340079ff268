"""No member of a body is ignored, no text of one holds a control character, and clients' other spellings are understood."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import api.app  # noqa: F401 - its routes fill BODIES
from api.documented import BODIES
from api.faults import Fault
from api.models import accounts, actions, backups, configurations, instances, logs, mgmt, ssl
from api.orders import _access
from api.requests import parse
from tests.api.conftest import body, wait_until_gone
from tests.api.test_faults import is_fault, wrong
from tests.stack import RunningStack

USER = {"name": "amy", "password": "x", "host": "%", "databases": [{"name": "app"}]}
DATABASE = {"name": "app", "character_set": "utf8mb4", "collate": "utf8mb4_bin"}
ORDER = {
    "name": "a", "flavorRef": 1, "volume": {"size": 1, "type": "fast"}, "databases": [DATABASE], "users": [USER],
    "datastore": {"type": "mariadb", "version": "10.11", "version_number": "10.11"}, "locality": "affinity",
    "nics": [{"net-id": "a", "subnet_id": "b", "ip_address": "10.0.0.9"}], "availability_zone": "nova",
    "access": {"is_public": True, "allowed_cidrs": ["10.0.0.0/8"]}, "region_name": "here", "configuration": "c",
    "modules": [{"id": "m"}], "restorePoint": {"backupRef": "b"}, "replica_of": "r", "replica_count": 1,
}  # fmt: skip
VERSION = {
    "image": "28a89b80-ad2f-40fa-8229-8ad1d3bf4a00", "image_tags": ["a"], "packages": ["p"], "default": True,
    "active": True,
}  # fmt: skip
FULL: dict[type, Any] = {
    instances.CreateInstanceBody: {"instance": ORDER},
    instances.ChangeInstanceBody: {
        "instance": {"name": "a", "access": {"is_public": True, "allowed_cidrs": ["10.0.0.1"]}}
    },
    accounts.CreateDatabasesBody: {"databases": [DATABASE]},
    accounts.CreateUsersBody: {"users": [USER]},
    accounts.ChangePasswordsBody: {"users": [{"name": "amy", "password": "x", "host": "%"}]},
    accounts.ChangeUserBody: {"user": {"name": "amy", "password": "x", "host": "%"}},
    accounts.GrantBody: {"databases": [{"name": "app"}]},
    accounts.RootBody: {"password": "x"},
    ssl.ChangeSslBody: {
        "ssl": {
            "enable": True,
            "disable": False,
            "rollback": False,
            "mode": "basic",
            "certificate": "x",
            "key": "y",
            "ca": "z",
        }
    },
    configurations.CreateConfigurationBody: {
        "configuration": {"name": "c", "description": "d", "values": {"a": 1}, "datastore": {"type": "mariadb"}}
    },
    configurations.ReplaceConfigurationBody: {
        "configuration": {"name": "c", "description": "d", "values": {"a": 1}, "datastore": {"type": "mariadb"}}
    },
    configurations.EditConfigurationBody: {
        "configuration": {"name": "c", "description": "d", "values": {"a": 1}, "datastore": {"type": "mariadb"}}
    },
    backups.CreateBackupBody: {
        "backup": {
            "name": "b",
            "description": "d",
            "instance": "i",
            "parent_id": "p",
            "incremental": 1,
            "swift_container": "c",
            "storage_driver": "swift",
        }
    },
    backups.CreateStrategyBody: {"backup_strategy": {"instance_id": "i", "swift_container": "c"}},
    mgmt.ManageParameterBody: {
        "configuration-parameter": {
            "name": "a",
            "restart_required": 0,
            "data_type": "integer",
            "min_size": 1,
            "max_size": 2,
        }
    },
    mgmt.QuotasBody: {"quotas": {"instances": 3}},
    mgmt.CreateVersionBody: {
        "version": {**VERSION, "name": "v", "datastore_name": "d", "datastore_manager": "mariadb", "version": "1"}
    },
    mgmt.ChangeVersionBody: {**VERSION, "name": "v", "datastore_manager": "mariadb"},
    actions.ApplyModulesBody: {"modules": [{"id": "m"}]},
    logs.LogBody: {"name": "general", "enable": 1, "disable": 0, "publish": 1, "discard": 1},
}
# their members are names of resources and parameters, which are compared with those that exist
FREE = {"quotas", "values"}


def spoiled(content: Any, change: Any, place: str = "") -> Iterator[Any]:
    """Copies of a body, each with one place changed: `change(value, place)` gives the new value, or None for none."""
    new = change(content, place)
    if new is not None:
        yield new
    if isinstance(content, dict):
        for name, value in content.items():
            yield from ({**content, name: each} for each in spoiled(value, change, name))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from ([*content[:number], each, *content[number + 1 :]] for each in spoiled(value, change, place))


def test_the_table_has_every_body() -> None:
    assert FULL.keys() == set[type](BODIES.values())
    for model, content in FULL.items():
        model.model_validate(content)  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", BODIES.values())
def test_no_member_is_ignored(model: Any) -> None:
    def one_more(value: Any, place: str) -> Any:
        return {**value, "surplus": 1} if isinstance(value, dict) and place not in FREE else None

    bodies = list(spoiled(FULL[model], one_more))
    assert bodies
    for each in bodies:
        with pytest.raises(ValidationError, match="surplus"):
            model.model_validate(each)


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", *"\u202e\u2066"]
)
@pytest.mark.parametrize("model", BODIES.values())
def test_no_text_has_a_control_character(model: Any, character: str) -> None:
    def inside(value: Any, place: str) -> Any:
        return value + character if isinstance(value, str) else None

    texts = list(spoiled(FULL[model], inside)) or [{f"in a name{character}": 1}]
    for each in [*texts, {**FULL[model], f"x{character}": 1}]:
        with pytest.raises(Fault, match=r"control characters|not valid JSON"):
            parse(json.dumps(each).encode())


TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
TAKEN = st.characters(categories=["L", "N", "P", "S", "Zs", "Cf"], exclude_characters=TURNS)


@given(st.text(alphabet=TAKEN, min_size=1, max_size=20))
def test_other_text_is_taken(text: str) -> None:
    assert parse(json.dumps({"a": [text, {text: text}]}).encode()) == {"a": [text, {text: text}]}


@pytest.mark.parametrize("content", [b'{"a": 1, "a": 2}', b'{"instance": {"name": "a", "name": "b"}}'])
def test_a_member_that_comes_twice_is_refused(content: bytes) -> None:
    with pytest.raises(Fault, match="not valid JSON"):
        parse(content)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_cidrs_are_kept_as_neutron_writes_them(address: Any, length: int) -> None:
    (kept,) = _access(instances.AccessBody(allowed_cidrs=[f"{address}/{length}"])).allowed_cidrs
    assert kept.endswith(f"/{length}")
    assert _access(instances.AccessBody(allowed_cidrs=[kept, f"{address}/{length}"])).allowed_cidrs == (kept,)
    (alone,) = _access(instances.AccessBody(allowed_cidrs=[str(address)])).allowed_cidrs
    assert alone == f"{address}/32"


@pytest.mark.parametrize("one", [{"databases": DATABASE}, {"database": DATABASE}, DATABASE])
def test_one_database_is_understood(one: Any) -> None:
    assert accounts.CreateDatabasesBody.model_validate(one).databases[0].name == "app"
    with pytest.raises(ValidationError):
        accounts.CreateDatabasesBody.model_validate({**one, "surplus": 1})
    with pytest.raises(ValidationError):
        accounts.CreateDatabasesBody.model_validate({"databases": [DATABASE], "database": DATABASE})


@pytest.mark.parametrize("one", [{"users": USER}, {"user": USER}])
def test_one_user_is_understood(one: Any) -> None:
    assert accounts.CreateUsersBody.model_validate(one).users[0].name == "amy"
    with pytest.raises(ValidationError):
        accounts.CreateUsersBody.model_validate({**one, "surplus": 1})


@pytest.mark.parametrize(
    ("members", "flavor"),
    [({"flavorRef": 1}, "1"), ({"flavorRef": "http://nova/flavors/7/"}, "7"), ({"flavor": "m1.tiny"}, "m1.tiny"),
     ({"flavor": 3}, "3"), ({"flavor": {"id": 3, "str_id": "3", "links": []}}, "3"), ({"flavor": {"id": "x"}}, "x"),
     ({"flavor": {"id": None, "str_id": "a-b"}}, "a-b"), ({"flavor": "1", "flavorRef": 1}, "1")],
)  # fmt: skip
def test_a_flavor_is_named_in_any_way(members: dict[str, Any], flavor: str) -> None:
    assert instances.InstanceBody.model_validate({"name": "a", **members}).wanted_flavor == flavor


# -- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavor", ["1", {"id": "1"}])
def test_openstacksdk_creates_an_instance(stack: RunningStack, demo: httpx.Client, flavor: Any) -> None:
    made = stack.cloud("demo").database.create_instance(
        name="by-sdk", flavor=flavor, volume={"size": 1}, datastore={"type": "mariadb"}
    )
    assert (made.status, demo.get(f"/instances/{made.id}").json()["instance"]["flavor"]["id"]) == ("BUILD", "1")
    stack.cloud("demo").database.delete_instance(made.id)
    wait_until_gone(demo, made.id)


def test_control_characters_over_http(demo: httpx.Client) -> None:
    forged = "n\n2026-11-26 13:00:00,000 WARNING records.guests SECURITY a second enrolment"
    message = is_fault(demo.post("/instances", json=wrong(nics=[{"net-id": forged}])), 400)
    assert message == "Validation error: instance.nics[0].net-id: must not contain control characters"


def test_quotas_are_of_projects_that_exist(stack: RunningStack, admin: httpx.Client, demo: httpx.Client) -> None:
    _, project = stack.token("demo")
    before = {each["resource"]: each["limit"] for each in admin.get(f"/mgmt/quotas/{project}").json()["quotas"]}
    answer = admin.put(f"/mgmt/quotas/{project}", json={"quotas": {"volumes": 77, "instances": None}})
    assert answer.json() == {"quotas": {"volumes": 77}}
    after = {each["resource"]: each["limit"] for each in admin.get(f"/mgmt/quotas/{project}").json()["quotas"]}
    assert after == {**before, "volumes": 77}
    admin.put(f"/mgmt/quotas/{project}", json={"quotas": {"volumes": before["volumes"]}})
    count = stack.sql("SELECT count(*) FROM quotas")
    for ghost in ("%20", "..%2F", "%2e%2e", "0" * 32, project.upper(), f"{project}%20", f"{project}%0a", "*", "x" * 300,
                  "%F0%9F%8E%89", f"{project}%3Fx"):  # fmt: skip
        is_fault(admin.put(f"/mgmt/quotas/{ghost}", json={"quotas": {"volumes": 5}}), 404)
        is_fault(admin.get(f"/mgmt/quotas/{ghost}"), 404)
    assert stack.sql("SELECT count(*) FROM quotas") == count


@pytest.mark.parametrize("name", ["X-Auth-Token", "Content-Type", "X-Forwarded-Host"])
def test_a_header_that_comes_twice_is_refused(demo: httpx.Client, name: str) -> None:
    token = demo.headers["X-Auth-Token"]
    first = token if name == "X-Auth-Token" else "application/json"
    headers = [("X-Auth-Token", token), (name, first), (name, "other")]
    with httpx.Client() as plain:
        is_fault(plain.get(f"{str(demo.base_url).rstrip('/')}/limits", headers=headers), 400)


def test_forwarded_headers_of_a_stranger_are_not_believed(stack: RunningStack) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.1.1", "X-Forwarded-Host": "evil.example",
               "X-Forwarded-Prefix": "/p"}  # fmt: skip
    url = stack.settings.api_url
    (version,) = httpx.get(url, headers=headers).json()["versions"]
    assert version["links"] == [{"rel": "self", "href": f"{url}/v1.0/"}]


def test_answers_are_not_stored_nor_sniffed(stack: RunningStack, demo: httpx.Client) -> None:
    for answer in (demo.get("/instances"), demo.get("/no-such"), httpx.get(f"{stack.settings.api_url}/docs")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_of_the_document_needs_nobody_else(stack: RunningStack) -> None:
    """Its files come from the API itself, and are those that it names by hash."""
    page = httpx.get(f"{stack.settings.api_url}/docs").text
    assert "://" not in page
    named = re.findall(r'(?:href|src)="(docs/[^"]+)" integrity="sha384-([^"]+)"', page)
    assert len(named) == len(re.findall("<(?:script src|link rel=.stylesheet)", page)) == 2
    for path, digest in named:
        answer = httpx.get(f"{stack.settings.api_url}/{path}")
        assert answer.headers["content-type"].split(";")[0] in ("text/javascript", "text/css")
        assert base64.b64encode(hashlib.sha384(answer.content).digest()).decode() == digest
    assert httpx.get(f"{stack.settings.api_url}/redoc").status_code == 404


@pytest.mark.parametrize(
    "path", ["/x%0a{}", "/v1.0/p/%0d%0a{}", "/x%1b%5b31m{}", "/x%00{}", "/x?%0a{}", "/%E2%80%A8{}"]
)
def test_a_path_cannot_write_a_line_of_the_log(stack: RunningStack, path: str) -> None:
    forged = "2026-11-26%2013:00:00,000%20WARNING%20records.guests%20SECURITY%20a-second"
    httpx.get(stack.settings.api_url + path.format(forged))
    log = (stack.settings.log / "api.log").read_bytes()
    assert b"\0" not in log
    assert b"\x1b" not in log
    assert not any(line.startswith(b"2026-11-26 13:00:00") for line in log.splitlines())


def test_an_order_s_body_is_checked_before_anything_is_looked_up(demo: httpx.Client) -> None:
    ghost = "/instances/00000000-0000-4000-8000-000000000000"
    for path, content in ((f"{ghost}/action", {"restart": {"x": 1}}), (ghost, {"instance": {"x": 1}})):
        method = "POST" if path.endswith("action") else "PUT"
        is_fault(demo.request(method, path, json=content), 400)
    assert "surplus" in is_fault(demo.post("/instances", json={**body("x", "mariadb"), "surplus": 1}), 400)
