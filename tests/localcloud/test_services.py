"""The four services over HTTP: whose things are seen, what is refused and in which words, and that nothing waits."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

import localcloud
from tests.localcloud.conftest import Lab, localcloud_of, until
from tests.stack import RunningStack

SERVICES = ("/compute/v2.1/servers", "/volume/v3/PROJECT/volumes", "/network/v2.0/ports", "/image/v2/images")


@pytest.fixture(scope="module")
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """Project demo."""
    with localcloud_of(stack, "demo") as client:
        yield client


@pytest.fixture(scope="module")
def admin(stack: RunningStack) -> Iterator[httpx.Client]:
    """An administrator."""
    with localcloud_of(stack, "admin") as client:
        yield client


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SERVICES)
@pytest.mark.parametrize("token", [None, "nonsense", "gAAAA" * 40], ids=["none", "nonsense", "like one"])
def test_without_a_good_token_nothing_is_told(stack: RunningStack, path: str, token: str | None) -> None:
    headers = {"X-Auth-Token": token} if token else {}
    url = f"http://127.0.0.1:{stack.settings.localcloud_port}{path}"
    for method in ("GET", "POST"):
        answer = httpx.request(method, url, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == 401
        assert answer.headers["www-authenticate"] == f'Keystone uri="{stack.settings.keystone_url}"'


def test_the_versions_need_no_token(stack: RunningStack) -> None:
    base = f"http://127.0.0.1:{stack.settings.localcloud_port}"
    assert httpx.get(f"{base}/compute/v2.1").json()["version"]["id"] == "v2.1"
    assert httpx.get(f"{base}/volume").json()["versions"][0]["id"] == "v3.0"
    assert httpx.get(f"{base}/network").json()["versions"][0]["id"] == "v2.0"
    assert {each["id"] for each in httpx.get(f"{base}/image").json()["versions"]} >= {"v2.0"}


def test_only_administrators_let_things_go_wrong(demo: httpx.Client, admin: httpx.Client) -> None:
    assert demo.post("/faults", json={"status": 500}).status_code == 403
    assert demo.get("/faults").status_code == 403
    assert admin.post("/faults", json={"no-such": 1}).status_code == 400
    assert admin.get("/faults").json() == {"faults": []}


# -- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/compute/v2.1/servers/{}", "Instance"),
        ("/compute/v2.1/flavors/{}", "Flavor"),
        ("/compute/v2.1/os-server-groups/{}", "Instance group"),
        ("/volume/v3/PROJECT/volumes/{}", "Volume"),
        ("/volume/v3/PROJECT/types/{}", "Volume type"),
    ],
)
def test_nova_and_cinder_say_itemnotfound(demo: httpx.Client, path: str, kind: str) -> None:
    unknown = str(uuid4())
    answer = demo.get(path.format(unknown))
    assert answer.status_code == 404
    assert answer.json() == {"itemNotFound": {"code": 404, "message": f"{kind} {unknown} could not be found."}}


@pytest.mark.parametrize(
    ("collection", "kind"),
    [("networks", "Network"), ("ports", "Port"), ("subnets", "Subnet"), ("security-groups", "SecurityGroup")],
)
def test_neutron_says_neutronerror_with_a_type(demo: httpx.Client, collection: str, kind: str) -> None:
    unknown = str(uuid4())
    for method in ("GET", "DELETE"):
        answer = demo.request(method, f"/network/v2.0/{collection}/{unknown}")
        assert answer.status_code == 404
        error = answer.json()["NeutronError"]
        assert error["type"] == f"{kind}NotFound"
        assert unknown in error["message"]


def test_glance_says_it_in_its_own_words(demo: httpx.Client) -> None:
    unknown = str(uuid4())
    answer = demo.get(f"/image/v2/images/{unknown}")
    assert answer.status_code == 404
    assert answer.json()["message"] == f"No image found with ID {unknown}"


def test_a_deletion_of_what_is_not_there_is_a_404(demo: httpx.Client) -> None:
    for path in ("/compute/v2.1/servers/", "/volume/v3/PROJECT/volumes/", "/compute/v2.1/os-server-groups/"):
        assert demo.delete(path + str(uuid4())).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/compute/v2.1/servers", b"nonsense"),
        ("/compute/v2.1/servers", b"[]"),
        ("/compute/v2.1/servers", b"{}"),
        ("/compute/v2.1/servers", b'{"server": {"name": "a", "flavorRef": "no-such"}}'),
        ("/compute/v2.1/servers", b'{"server": {"name": "a", "flavorRef": "1", "imageRef": "no-such"}}'),
        ("/volume/v3/PROJECT/volumes", b'{"volume": {"size": 0}}'),
        ("/volume/v3/PROJECT/volumes", b'{"volume": {"size": "big"}}'),
        ("/network/v2.0/ports", b"{}"),
    ],
)
def test_a_malformed_order_is_a_400(demo: httpx.Client, path: str, body: bytes) -> None:
    assert demo.post(path, content=body).status_code == 400


# -- whose things are seen -------------------------------------------------------------------------------------------


def test_a_project_sees_its_own_and_an_administrator_sees_all(stack: RunningStack, lab: Lab) -> None:
    demo, admin, service = stack.cloud("demo"), stack.cloud("admin"), lab.conn
    port = service.network.create_port(network_id=service.network.find_network("databases").id)
    volume = service.block_storage.create_volume(size=1)
    group = service.network.create_security_group(name="of-a-test")
    server = lab.boot(networks=[{"port": port.id}])
    try:
        for found in ({each.id for each in demo.compute.servers()}, {each.id for each in admin.compute.servers()}):
            assert server not in found
        assert server not in {each.id for each in demo.compute.servers(all_projects=True)}
        assert server in {each.id for each in admin.compute.servers(all_projects=True)}
        assert server in {each.id for each in service.compute.servers()}
        assert demo.compute.find_server(server) is None
        assert admin.compute.get_server(server).project_id == stack.service_project

        assert volume.id not in {each.id for each in demo.block_storage.volumes()}
        assert volume.id not in {each.id for each in admin.block_storage.volumes()}
        assert volume.id in {each.id for each in admin.block_storage.volumes(all_projects=True)}
        assert demo.block_storage.find_volume(volume.id) is None

        assert port.id not in {each.id for each in demo.network.ports()}
        assert group.id not in {each.id for each in demo.network.security_groups()}
        assert {port.id} <= {each.id for each in admin.network.ports()}
    finally:
        lab.delete(server)
        service.network.delete_port(port)
        service.network.delete_security_group(group)
        service.block_storage.delete_volume(volume)


def test_what_another_project_has_can_be_neither_changed_nor_used(demo: httpx.Client, lab: Lab) -> None:
    server = lab.boot()
    base = f"/compute/v2.1/servers/{server}"
    assert demo.delete(base).status_code == 404
    assert demo.put(base, json={"server": {"name": "mine"}}).status_code == 404
    for action in ("os-stop", "reboot", "os-getConsoleOutput"):
        assert demo.post(f"{base}/action", json={action: None}).status_code == 404
    assert lab.conn.compute.get_server(server).status == "ACTIVE"
    network = lab.conn.network.find_network("databases").id
    answer = demo.post("/network/v2.0/ports", json={"port": {"network_id": network}})
    assert answer.status_code == 404
    assert answer.json()["NeutronError"]["type"] == "NetworkNotFound"


def test_networks_are_seen_by_their_project_and_those_they_are_shared_with(stack: RunningStack) -> None:
    names = {user: {each.name for each in stack.cloud(user).network.networks()} for user in ("demo", "coffer", "admin")}
    assert names["demo"] >= {"private", "public"}
    assert "databases" not in names["demo"]
    assert names["coffer"] >= {"private", "public", "databases"}  # the service user is an administrator
    assert names["admin"] >= {"private", "public", "databases"}


def test_only_administrators_make_flavors_types_and_external_networks(demo: httpx.Client) -> None:
    flavor = {"flavor": {"name": "mine", "ram": 1, "vcpus": 1, "disk": 1}}
    answer = demo.post("/compute/v2.1/flavors", json=flavor)
    assert answer.status_code == 403
    assert answer.json()["forbidden"]["code"] == 403
    assert demo.delete("/compute/v2.1/flavors/1").status_code == 403
    assert demo.post("/volume/v3/PROJECT/types", json={"volume_type": {"name": "mine"}}).status_code == 403
    network = {"network": {"name": "mine", "router:external": True}}
    answer = demo.post("/network/v2.0/networks", json=network)
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (403, "PolicyNotAuthorized")


# -- nothing waits ---------------------------------------------------------------------------------------------------


def order_server(client: httpx.Client, flavor: str = "one", **more: Any) -> httpx.Response:
    """Order a server that does nothing."""
    (image,) = client.get("/image/v2/images", params={"name": "quiet"}).json()["images"]
    server = {"name": "of-a-test", "flavorRef": flavor, "imageRef": image["id"], "networks": "none"}
    return client.post("/compute/v2.1/servers", json={"server": {**server, **more}})


def order_volume(client: httpx.Client, size: int = 1) -> httpx.Response:
    """Order a volume."""
    return client.post("/volume/v3/PROJECT/volumes", json={"volume": {"name": "of-a-test", "size": size}})


def history(client: httpx.Client, path: str, key: str, what: str, last: object) -> list[object]:
    """The values that an attribute goes through, until the last; None is a thing that is gone."""
    seen: list[object] = []
    deadline = time.monotonic() + 30
    while not seen or seen[-1] != last:
        answer = client.get(path)
        value = None if answer.status_code == 404 else answer.json()[key][what]
        seen += [value] if not seen or seen[-1] != value else []
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    return seen


def test_a_server_is_answered_at_once_and_built_afterwards(small: httpx.Client) -> None:
    answer = order_server(small)
    assert answer.status_code == 202
    path = f"/compute/v2.1/servers/{answer.json()['server']['id']}"
    assert history(small, path, "server", "status", "ACTIVE") == ["BUILD", "ACTIVE"]
    assert small.get(path).json()["server"]["OS-EXT-STS:task_state"] is None
    assert small.delete(path).status_code == 204
    assert history(small, path, "server", "OS-EXT-STS:task_state", None)[0] == "deleting"
    until("gone", lambda: small.get(path).status_code == 404)


def test_a_volume_is_answered_at_once_and_made_afterwards(small: httpx.Client) -> None:
    answer = order_volume(small)
    assert answer.status_code == 202
    assert answer.json()["volume"]["status"] == "creating"
    path = f"/volume/v3/PROJECT/volumes/{answer.json()['volume']['id']}"
    assert history(small, path, "volume", "status", "available") == ["creating", "available"]
    assert small.delete(path).status_code == 202
    assert small.delete(path).status_code == 202  # once more is no harm
    assert history(small, path, "volume", "status", None) == ["deleting", None]


def test_a_volume_that_is_being_made_can_be_neither_deleted_nor_attached(small: httpx.Client) -> None:
    volume = order_volume(small).json()["volume"]["id"]
    path = f"/volume/v3/PROJECT/volumes/{volume}"
    answer = small.delete(path)
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"].startswith("Invalid volume: Volume status must be available or error")
    disk = {"boot_index": -1, "uuid": volume, "source_type": "volume", "destination_type": "volume"}
    answer = order_server(small, block_device_mapping_v2=[disk])
    assert answer.status_code == 400
    assert "must be 'available', but it is 'creating'" in answer.json()["badRequest"]["message"]
    history(small, path, "volume", "status", "available")
    small.delete(path)
    history(small, path, "volume", "status", None)


def test_a_server_that_is_deleted_while_it_is_built_never_runs(small: httpx.Client) -> None:
    path = f"/compute/v2.1/servers/{order_server(small).json()['server']['id']}"
    assert small.delete(path).status_code == 204
    assert "ACTIVE" not in history(small, path, "server", "status", None)


# -- quotas ----------------------------------------------------------------------------------------------------------


def test_nova_s_quotas_are_a_403_and_are_given_back(small: httpx.Client) -> None:
    answer = order_server(small, flavor="six")
    assert answer.status_code == 403
    text = "Quota exceeded for cores: Requested 6, but already used 0 of 5 cores"
    assert answer.json() == {"forbidden": {"code": 403, "message": text}}
    paths = [f"/compute/v2.1/servers/{order_server(small).json()['server']['id']}" for _ in range(2)]
    answer = order_server(small)
    assert answer.status_code == 403
    text = "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances"
    assert answer.json() == {"forbidden": {"code": 403, "message": text}}
    used = small.get("/compute/v2.1/limits").json()["limits"]["absolute"]
    assert (used["totalInstancesUsed"], used["maxTotalInstances"], used["totalCoresUsed"]) == (2, 2, 2)
    for path in paths:
        small.delete(path)
    for path in paths:
        history(small, path, "server", "status", None)
    assert small.get("/compute/v2.1/limits").json()["limits"]["absolute"]["totalInstancesUsed"] == 0


def test_cinder_s_quota_is_a_413_and_is_given_back(small: httpx.Client) -> None:
    path = f"/volume/v3/PROJECT/volumes/{order_volume(small, 2).json()['volume']['id']}"
    answer = order_volume(small, 2)
    assert answer.status_code == 413
    error = answer.json()["overLimit"]
    assert error["message"].startswith("VolumeSizeExceedsAvailableQuota: ")
    assert error["message"].endswith("Requested 2G, quota is 3G and 2G has been consumed.")
    history(small, path, "volume", "status", "available")
    small.delete(path)
    history(small, path, "volume", "status", None)
    answer = order_volume(small, 3)
    assert answer.status_code == 202
    path = f"/volume/v3/PROJECT/volumes/{answer.json()['volume']['id']}"
    history(small, path, "volume", "status", "available")
    small.delete(path)
    history(small, path, "volume", "status", None)


def test_neutron_s_quota_is_a_409_and_is_given_back(small: httpx.Client) -> None:
    network = small.post("/network/v2.0/networks", json={"network": {"name": "of-a-test"}}).json()["network"]["id"]
    order = {"port": {"network_id": network}}
    first = small.post("/network/v2.0/ports", json=order).json()["port"]["id"]
    assert small.post("/network/v2.0/ports", json=order).status_code == 201
    answer = small.post("/network/v2.0/ports", json=order)
    assert answer.status_code == 409
    error = answer.json()["NeutronError"]
    assert (error["type"], error["message"]) == ("OverQuota", "Quota exceeded for resources: ['port'].")
    assert small.delete(f"/network/v2.0/ports/{first}").status_code == 204
    assert small.post("/network/v2.0/ports", json=order).status_code == 201


# -- images ----------------------------------------------------------------------------------------------------------


def test_glance_lists_images_by_name_and_by_all_of_the_tags(stack: RunningStack) -> None:
    folder = stack.settings.image_folder / "twice-tagged"
    folder.mkdir()
    try:
        (folder / "manifest.yaml").write_text("name: twice-tagged\ntags: [quiet, other]\nprocesses: []\n")
        image = stack.cloud("demo").image
        assert {each.name for each in image.images(tag=["quiet"])} == {"quiet", "twice-tagged"}
        assert {each.name for each in image.images(tag=["quiet", "other"])} == {"twice-tagged"}
        assert list(image.images(tag=["quiet", "no-such"])) == []
        (found,) = image.images(name="quiet")
        assert (found.name, found.status, found.tags) == ("quiet", "active", ["quiet"])
        assert image.get_image(found.id).name == "quiet"
    finally:
        (folder / "manifest.yaml").unlink()
        folder.rmdir()


# -- of what it knows ------------------------------------------------------------------------------------------------


def test_the_embedded_cloud_knows_nothing_of_who_uses_it() -> None:
    word = b"coffer"
    assert localcloud.__file__ is not None
    folder = Path(localcloud.__file__).parent
    files = [each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
    assert len(files) > 15
    assert [str(each.relative_to(folder)) for each in files if word in each.read_bytes().lower()] == []
