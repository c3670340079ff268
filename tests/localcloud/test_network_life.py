"""The cloud's network through the life of its process: killed, started again, deleted, abandoned."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from localcloud.cloud import Cloud
from localcloud.links import REGISTER, Links
from tests.localcloud.conftest import until
from tests.localcloud.lan import Lan, address, needs_root, running_lan, shown_on_host

pytestmark = needs_root
OPEN = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 1000, "port_range_max": 1000}


@pytest.fixture
def lan() -> Iterator[Lan]:
    """A cloud for each test: most of them break it."""
    with running_lan() as made:
        yield made


def successor(lan: Lan) -> Cloud:
    """Another process's view of the same state, after the one before was killed: it knows what is on disk alone."""
    return Cloud(lan.settings)


def test_what_was_on_the_host_when_the_cloud_was_killed_stays_and_is_found(lan: Lan) -> None:
    port, agent = lan.server(lan.network(1), security_groups=[lan.group(OPEN)])
    agent("listen", [1000])
    host = lan.agent()
    assert host("hold", address(port), 1000)
    before = lan.left()
    cloud = successor(lan)
    running = {each.removeprefix(f"{lan.tag}-") for each in lan.namespaces()}
    lan.run(cloud.host_network.wake(running))
    assert host("still") == "!"
    assert sorted(lan.left()) == sorted(before)


def test_what_is_missing_on_the_host_is_made_again(lan: Lan) -> None:
    network = lan.network(1)
    port, agent = lan.server(network, security_groups=[lan.group(OPEN)])
    agent("listen", [1000])
    host = lan.agent()
    links = Links(lan.state)
    server = lan.namespaces()[0].removeprefix(f"{lan.tag}-")
    subprocess.run(["ip", "link", "del", links.bridge(network)], check=True)
    subprocess.run(["nft", "delete", "table", "inet", lan.tag], check=True)
    assert host("tcp", address(port), 1000).endswith("Error")
    cloud = successor(lan)
    lan.run(cloud.host_network.wake({server}))
    lan.run(cloud.host_network.plug({"id": server, "ports": [port["id"]]}, running=True))
    # the kernel takes up to a second to see that the new bridge has a carrier
    until("it answers again", lambda: host("tcp", address(port), 1000) == str(lan.ranges[1][1]))


def test_namespaces_of_servers_that_do_not_run_are_removed(lan: Lan) -> None:
    network = lan.network(1)
    stopped, _ = lan.server(network, security_groups=[])
    unknown = Links(lan.state).plug(str(uuid4()), [], running=False)
    assert len(lan.namespaces()) == 2
    lan.end()
    lan.run(successor(lan).host_network.wake(set()))
    assert lan.namespaces() == []
    assert not Path(unknown).exists()
    until("its link goes with it", lambda: not lan.shows(Links(lan.state).interface(stopped["id"])))


def test_a_server_that_ends_leaves_no_link_and_no_namespace(lan: Lan) -> None:
    network = lan.network(1)
    before = sorted(lan.left())
    port, _ = lan.server(network, security_groups=[lan.group(OPEN)])
    assert sorted(lan.left()) != before
    server = lan.namespaces()[0].removeprefix(f"{lan.tag}-")
    lan.end()
    lan.cloud.store.put("server", {"id": server, "ports": [port["id"]]})
    lan.run(lan.cloud.host_network.unplug(server))
    lan.cloud.store.drop("server", server)
    assert lan.call("DELETE", f"/ports/{port['id']}").status_code == 204
    assert sorted(lan.left()) == before


@pytest.mark.parametrize("gone", ["state", "nothing"])
def test_a_cloud_removes_what_is_left_of_another_one_whose_state_is_gone(lan: Lan, tmp_path: Path, gone: str) -> None:
    other = Links(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.register()
    namespace = other.plug(str(uuid4()), [], running=False)
    process = subprocess.Popen(["nsenter", f"--net={namespace}", "sleep", "infinity"], start_new_session=True)
    try:
        if gone == "state":
            shutil.rmtree(tmp_path / "other")
        lan.run(successor(lan).host_network.wake(set()))
        assert bool(shown_on_host(other.tag)) == (gone == "nothing")
        assert (REGISTER / other.tag).exists() == (gone == "nothing")
        assert (process.poll() is None) if gone == "nothing" else (process.wait(10) == -signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        other.remove()
    assert shown_on_host(other.tag) == []


def test_the_command_removes_a_cloud_s_network_and_ends_its_servers(tmp_path: Path) -> None:
    links = Links(tmp_path)
    namespace = links.plug(str(uuid4()), [], running=False)
    process = subprocess.Popen(["nsenter", f"--net={namespace}", "sleep", "infinity"], start_new_session=True)
    repository = Path(__file__).parents[2]
    subprocess.run(["/usr/bin/python3", "-m", "localcloud.links", str(tmp_path)], cwd=repository, check=True,
                   env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip
    assert process.wait(10) == -signal.SIGKILL
    assert shown_on_host(links.tag) == []
