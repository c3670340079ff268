"""The network of the embedded cloud on this machine's kernel: who reaches whom, and who cannot."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.localcloud.conftest import until
from tests.localcloud.lan import ENDPOINT, Agent, Lan, address, needs_root, running_lan

pytestmark = needs_root
PORTS = [1000, 2000, 3306, 5432]
REFUSED = "TimeoutError"  # what is dropped is not answered
ANY = {"direction": "ingress", "ethertype": "IPv4"}
Server = tuple[dict[str, Any], Agent]


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """One cloud for all tests here."""
    with running_lan() as made:
        yield made


@pytest.fixture(scope="module")
def network(lan: Lan) -> str:
    """The network of most tests."""
    return lan.network(1)


@pytest.fixture(scope="module")
def host(lan: Lan) -> Agent:
    """A process of the host's."""
    return lan.agent()


@pytest.fixture(scope="module")
def client(lan: Lan, network: str) -> Server:
    """A server that lets nothing in and everything out."""
    return lan.server(network, security_groups=[lan.group()])


@pytest.fixture(scope="module")
def target(lan: Lan, network: str) -> Server:
    """A server that answers on all ports, as far as its port's groups let anybody ask."""
    port, agent = lan.server(network, security_groups=[])
    agent("listen", PORTS)
    return port, agent


def groups(lan: Lan, port: dict[str, Any], *ids: str) -> None:
    """Give a port other security groups."""
    answer = lan.call("PUT", f"/ports/{port['id']}", {"port": {"security_groups": list(ids)}})
    assert answer.status_code == 200, answer.text


# -- security groups -------------------------------------------------------------------------------------------------

TCP_3306 = {**ANY, "protocol": "tcp", "port_range_min": 3306, "port_range_max": 3306}
OPENED = [
    ({}, []),
    ({"no": "rule"}, []),
    (TCP_3306, [("tcp", 3306)]),
    ({**TCP_3306, "port_range_min": 1500, "port_range_max": 4000}, [("tcp", 2000), ("tcp", 3306)]),
    ({**TCP_3306, "protocol": "6"}, [("tcp", 3306)]),
    ({**TCP_3306, "protocol": "udp"}, [("udp", 3306)]),
    ({**ANY, "protocol": "tcp"}, [("tcp", each) for each in PORTS]),
    ({**ANY, "protocol": "udp"}, [("udp", each) for each in PORTS]),
    ({**ANY, "protocol": "icmp"}, [("ping", 0)]),
    ({**ANY, "protocol": "icmp", "port_range_min": 8}, [("ping", 0)]),
    ({**ANY, "protocol": "icmp", "port_range_min": 0}, []),
    (ANY, [("ping", 0), *(("tcp", each) for each in PORTS), *(("udp", each) for each in PORTS)]),
    ({**ANY, "ethertype": "IPv6"}, []),
    ({**TCP_3306, "direction": "egress"}, []),
    ({**TCP_3306, "protocol": "sctp"}, []),
]


@pytest.mark.parametrize(("rule", "opened"), OPENED, ids=lambda each: str(each)[:60])
def test_a_port_lets_in_what_its_rules_say_from_servers_and_from_the_host(
    lan: Lan, target: Server, client: Server, host: Agent, rule: dict[str, Any], opened: list[tuple[str, int]]
) -> None:
    port, _ = target
    groups(lan, port, *([lan.group(*([] if "no" in rule else [rule]))] if rule else []))
    for agent in (client[1], host):
        assert reachable(agent, address(port)) == set(opened)


def reachable(agent: Agent, where: str) -> set[tuple[str, int]]:
    """What is answered."""
    tried = [("ping", 0)] + [(kind, port) for kind in ("tcp", "udp") for port in PORTS]
    return {tuple(each) for each in agent("answers", where, tried)}


def answered(agent: Agent, where: str, kind: str, port: int) -> bool:
    """Whether one attempt is answered."""
    return bool(agent("answers", where, [(kind, port)]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(who=st.sampled_from(["client", "host", "elsewhere"]), length=st.integers(0, 32),
       first=st.sampled_from([1, 999, 1000, 1001, 2000, 3306]), width=st.sampled_from([0, 1, 1000, 60000]),
       protocol=st.sampled_from(["tcp", "udp", None]))  # fmt: skip
def test_any_prefix_and_range_of_ports_lets_in_whom_it_contains_and_nobody_else(
    lan: Lan, target: Server, client: Server, host: Agent, who: str, length: int, first: int, width: int,
    protocol: str | None,
) -> None:  # fmt: skip
    port, _ = target
    sources = {"client": address(client[0]), "host": str(lan.ranges[1][1]), "elsewhere": "203.0.113.77"}
    prefix = IPv4Network((sources[who], length), strict=False)
    last = min(first + width, 65535)
    ports = {"port_range_min": first, "port_range_max": last} if protocol else {}
    groups(lan, port, lan.group({**ANY, "protocol": protocol, "remote_ip_prefix": str(prefix), **ports}))
    for name, agent in (("client", client[1]), ("host", host)):
        inside = IPv4Address(sources[name]) in prefix
        allowed = {
            (kind, number)
            for kind in ("tcp", "udp")
            for number in PORTS
            if inside and (protocol is None or (kind == protocol and first <= number <= last))
        }
        assert reachable(agent, address(port)) - {("ping", 0)} == allowed, name


def test_a_remote_group_lets_in_its_members_as_they_come_and_go(
    lan: Lan, network: str, target: Server, client: Server, host: Agent
) -> None:
    port, _ = target
    members = lan.group()
    groups(lan, port, lan.group({**ANY, "remote_group_id": members}))
    where, outside = address(port), lan.call("GET", f"/ports/{client[0]['id']}").json()["port"]["security_groups"]
    assert [answered(each, where, "tcp", 1000) for each in (client[1], host)] == [False, False]
    groups(lan, client[0], *outside, members)
    assert [answered(each, where, "tcp", 1000) for each in (client[1], host)] == [True, False]
    groups(lan, client[0], *outside)
    assert not answered(client[1], where, "tcp", 1000)


def test_what_goes_out_is_filtered_as_well(lan: Lan, network: str, target: Server) -> None:
    port, _ = target
    groups(lan, port, lan.group(ANY))
    group = lan.group()
    for each in lan.call("GET", f"/security-groups/{group}").json()["security_group"]["security_group_rules"]:
        assert lan.call("DELETE", f"/security-group-rules/{each['id']}").status_code == 204
    _, agent = lan.server(network, security_groups=[group])
    assert reachable(agent, address(port)) == set()
    assert agent("tcp", *ENDPOINT) == REFUSED
    egress = {"direction": "egress", "ethertype": "IPv4", "protocol": "tcp", "remote_ip_prefix": f"{address(port)}/32"}
    lan.make("security_group_rule", security_group_id=group, port_range_min=2000, port_range_max=2000, **egress)
    assert reachable(agent, address(port)) == {("tcp", 2000)}
    assert agent("tcp", *ENDPOINT) == REFUSED
    lan.make("security_group_rule", security_group_id=group, direction="egress", ethertype="IPv4",
             remote_ip_prefix=f"{ENDPOINT[0]}/32")  # fmt: skip
    assert (ENDPOINT[0], ENDPOINT[1]) in [tuple(each) for each in agent("reached", [ENDPOINT])]


def test_ports_without_a_group_of_their_own_reach_each_other_by_the_project_s_default(lan: Lan) -> None:
    network = lan.network(2, "two")
    first, second = (lan.server(network, "two") for _ in range(2))
    first[1]("listen", PORTS)
    assert answered(second[1], address(first[0]), "tcp", 1000)
    assert not answered(lan.agent(), address(first[0]), "tcp", 1000)
    (default,) = lan.call("GET", "/security-groups?name=default", project="two").json()["security_groups"]
    assert first[0]["security_groups"] == second[0]["security_groups"] == [default["id"]]
    assert lan.call("DELETE", f"/security-groups/{default['id']}", project="two").status_code == 409
    group = lan.group(project="two")
    assert lan.call("PUT", f"/ports/{second[0]['id']}", {"port": {"security_groups": [group]}}, "two").is_success
    assert not answered(second[1], address(first[0]), "tcp", 1000)


def test_a_port_without_port_security_is_open_and_one_that_is_down_is_shut(lan: Lan, network: str, host: Agent) -> None:
    port, agent = lan.server(network, port_security_enabled=False)
    agent("listen", PORTS)
    assert answered(host, address(port), "tcp", 1000)
    assert lan.call("PUT", f"/ports/{port['id']}", {"port": {"admin_state_up": False}}).is_success
    assert not answered(host, address(port), "tcp", 1000)


def test_a_change_ends_connections_that_are_open(lan: Lan, target: Server, client: Server, host: Agent) -> None:
    port, _ = target
    group = lan.group(TCP_3306)
    groups(lan, port, group)
    for agent in (client[1], host):
        agent("hold", address(port), 3306)
        assert agent("still") == "!"
    groups(lan, port)
    assert [agent("still") for agent in (client[1], host)] == [REFUSED, REFUSED]


# -- floating IPs ----------------------------------------------------------------------------------------------------


def test_a_floating_ip_leads_to_its_port_by_the_client_s_own_address(
    lan: Lan, network: str, target: Server, client: Server, host: Agent
) -> None:
    port, _ = target
    outside = lan.network(3, "admin", **{"router:external": True})
    refused = lan.call("POST", "/floatingips", {"floatingip": {"floating_network_id": outside, "port_id": port["id"]}})
    assert (refused.status_code, refused.json()["NeutronError"]["type"]) == (
        404,
        "ExternalGatewayForFloatingIPNotFound",
    )
    router = lan.router(network, outside)
    assert lan.call("DELETE", f"/routers/{router}").status_code == 409
    floating = lan.make("floatingip", floating_network_id=outside, port_id=port["id"])
    where = floating["floating_ip_address"]
    assert (floating["status"], floating["fixed_ip_address"]) == ("ACTIVE", address(port))
    groups(lan, port, lan.group({**TCP_3306, "remote_ip_prefix": f"{lan.ranges[3][1]}/32"}))
    assert host("hold", where, 3306) == str(lan.ranges[3][1])
    assert [host("tcp", address(port), 3306), host("tcp", where, 1000)] == [REFUSED, REFUSED]
    assert client[1]("tcp", where, 3306) == REFUSED  # servers have no router
    second = lan.make("floatingip", floating_network_id=outside)
    path = f"/floatingips/{second['id']}"
    answer = lan.call("PUT", path, {"floatingip": {"port_id": port["id"]}})
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (409, "FloatingIPPortAlreadyAssociated")
    assert lan.call("PUT", f"/floatingips/{floating['id']}", {"floatingip": {"port_id": None}}).is_success
    assert host("still") == REFUSED
    assert host("tcp", where, 3306) in ("TimeoutError", "OSError")
    assert lan.call("PUT", path, {"floatingip": {"port_id": port["id"]}}).json()["floatingip"]["status"] == "ACTIVE"
    assert host("tcp", second["floating_ip_address"], 3306) == str(lan.ranges[3][1])
    assert lan.call("DELETE", path).status_code == 204
    assert host("tcp", second["floating_ip_address"], 3306) in ("TimeoutError", "OSError")


# -- what a server reaches of the host and of others -----------------------------------------------------------------


@pytest.fixture
def bait() -> Iterator[list[int]]:
    """Services of the host's that would answer anybody: on all addresses of both families, and on loopback."""
    wide = socket.create_server(("", 0))
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    near = socket.create_server(("127.0.0.1", 0))
    servers = (wide, both, near)
    for each in servers:
        threading.Thread(target=_accept_all, args=(each,), daemon=True).start()
    yield [each.getsockname()[1] for each in servers]
    for each in servers:
        each.close()


def _accept_all(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


def listening() -> set[int]:
    """Ports that anybody on this machine listens on, by TCP."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def addresses_of_host() -> set[str]:
    """All addresses of the machine."""
    shown = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    return {line.split()[3].split("/")[0] for line in shown.splitlines()}


@pytest.mark.parametrize("uid", [0, 299_999], ids=["root", "a user"])
def test_a_server_reaches_nothing_of_the_host_but_the_endpoint(
    lan: Lan, network: str, host: Agent, bait: list[int], uid: int
) -> None:
    port, _ = lan.server(network, security_groups=[lan.group()])
    agent = lan.agent(f"/run/netns/{_namespace_of(lan, port)}", uid)
    own, gateway = address(port), str(lan.ranges[1][1])
    hosts = addresses_of_host() | {gateway, "169.254.169.253", "169.254.169.254", "127.0.0.2", "0.0.0.0"}
    link_local = {f"{each}%eth0" for each in hosts if each.startswith("fe80")} | {"ff02::1%eth0"}
    ports = listening() | set(bait) | {22, 53, 80, 7236}
    assert set(bait) <= {number for _, number in host("reached", [(gateway, each) for each in bait[:2]])} | {bait[2]}
    pairs = [(each, number) for each in sorted(hosts | link_local) for number in sorted(ports)]
    # to a loopback address a server reaches itself, where nothing listens: refused by its own kernel
    outside = [each for each in pairs if not each[0].startswith(("127.", "::1", "0.0.0.0", own))]
    assert len(outside) > 50
    assert [tuple(each) for each in agent("reached", outside)] == [ENDPOINT]
    assert [each for each in agent("ping", gateway, 0.2).split() if uid == 0] in ([REFUSED], [])
    for number in bait:
        assert agent("tcp", "127.0.0.1", number) == "ConnectionRefusedError"  # its own loopback


def _namespace_of(lan: Lan, port: dict[str, Any]) -> str:
    """The namespace whose interface is a port's, as `ip` shows it."""
    name = lan.cloud.host_network._links.interface(port["id"])
    shown = subprocess.run(["ip", "-d", "link", "show", name], capture_output=True, text=True, check=True).stdout
    return shown.split("link-netns ")[1].split()[0]


def test_without_the_filter_the_host_is_within_reach(lan: Lan, network: str, bait: list[int]) -> None:
    """That the test above can fail: the same attempts, with the filter away for a moment."""
    _, agent = lan.server(network, security_groups=[lan.group()])
    pair = (str(lan.ranges[1][1]), bait[0])
    assert agent("reached", [pair]) == []
    tag = lan.cloud.host_network._links.tag
    subprocess.run(["nft", "delete", "table", "inet", tag], check=True)
    try:
        assert agent("reached", [pair]) == [list(pair)]
    finally:
        lan.cloud.host_network._ruleset = ""
        lan.run(lan.cloud.host_network.sync())
    assert agent("reached", [pair]) == []


def test_networks_are_isolated_from_each_other(lan: Lan, target: Server) -> None:
    port, _ = target
    groups(lan, port, lan.group(ANY))
    network = lan.network(4, "four")
    _, agent = lan.server(network, "four", security_groups=[lan.group(project="four")])
    assert reachable(agent, address(port)) == set()
    assert agent("reached", [(str(lan.ranges[1][1]), each) for each in PORTS]) == []


# -- who one says to be ----------------------------------------------------------------------------------------------


def mac(text: str) -> bytes:
    """Six bytes."""
    return bytes.fromhex(text.replace(":", ""))


def datagram(source: str, target: str, word: bytes) -> bytes:
    """A UDP datagram to port 1000, in an IPv4 packet."""
    body = (7).to_bytes(2, "big") + (1000).to_bytes(2, "big") + (8 + len(word)).to_bytes(2, "big") + b"\0\0" + word
    head = bytes([0x45, 0]) + (20 + len(body)).to_bytes(2, "big") + b"\0\0\0\0" + bytes([64, 17])
    pair = IPv4Address(source).packed + IPv4Address(target).packed
    total = sum(int.from_bytes((head + pair)[at : at + 2], "big") for at in range(0, 18, 2))
    total = (total & 0xFFFF) + (total >> 16)
    return head + (~total & 0xFFFF).to_bytes(2, "big") + pair + body


def arp(operation: int, sender: tuple[bytes, str], asked: str) -> bytes:
    """An ARP packet."""
    head = bytes.fromhex("00010800060400") + bytes([operation])
    return head + sender[0] + IPv4Address(sender[1]).packed + bytes(6) + IPv4Address(asked).packed


def test_a_server_sends_with_no_address_but_its_own(lan: Lan, network: str, target: Server, host: Agent) -> None:
    port, agent = target
    groups(lan, port, lan.group(ANY))
    thief, thieves = lan.server(network, security_groups=[lan.group()])
    bridge = lan.cloud.host_network._links.bridge(network)
    gateway_mac = mac(Path(f"/sys/class/net/{bridge}/address").read_text().strip())
    own, his = mac(thief["mac_address"]), mac(port["mac_address"])
    me, he, gateway = address(thief), address(port), str(lan.ranges[1][1])
    foreign = mac("fa:16:3e:00:00:99")
    wide = b"\xff" * 6
    frames = {
        "honest": (gateway_mac, own, "0800", datagram(me, he, b"WORD00")),
        "the target's address": (gateway_mac, own, "0800", datagram(he, he, b"WORD01")),
        "the gateway's address": (gateway_mac, own, "0800", datagram(gateway, he, b"WORD02")),
        "an address from outside": (gateway_mac, own, "0800", datagram("8.8.8.8", he, b"WORD03")),
        "a loopback address": (gateway_mac, own, "0800", datagram("127.0.0.1", he, b"WORD04")),
        "no address": (gateway_mac, own, "0800", datagram("0.0.0.0", he, b"WORD05")),
        "the target's MAC": (gateway_mac, his, "0800", datagram(me, he, b"WORD06")),
        "another MAC": (gateway_mac, foreign, "0800", datagram(me, he, b"WORD07")),
        "straight to the target's MAC": (his, own, "0800", datagram(me, he, b"WORD08")),
        "to everybody": (wide, own, "0800", datagram(me, he, b"WORD09")),
        "in a VLAN": (gateway_mac, own, "8100", bytes.fromhex("00010800") + datagram(me, he, b"WORD10")),
        "IPv6": (his, own, "86dd", bytes.fromhex("6000000000063a40") + bytes(32) + b"WORD11"),
        "IPv6 to everybody": (mac("33:33:00:00:00:01"), own, "86dd", bytes.fromhex("6000000000063a40") + bytes(32) + b"WORD12"),
        "another protocol": (wide, own, "88b5", b"WORD13" + bytes(40)),
        "ARP as the gateway": (wide, own, "0806", arp(2, (own, gateway), he) + b"WORD14"),
        "ARP as the target": (wide, own, "0806", arp(2, (own, he), gateway) + b"WORD15"),
        "ARP with the target's MAC": (wide, own, "0806", arp(1, (his, me), gateway) + b"WORD16"),
        "ARP to the target": (his, own, "0806", arp(2, (own, me), he) + b"WORD17"),
        "spanning tree": (mac("01:80:c2:00:00:00"), own, "0026", bytes.fromhex("424203") + b"WORD18" + bytes(38)),
    }  # fmt: skip
    assert thieves("udp", he, 1000) == me  # ARP is done, the honest way
    agent("sniff", "eth0")
    host("sniff", bridge)
    for to, source, kind, payload in reversed(frames.values()):
        thieves("send_frame", "eth0", (to + source + bytes.fromhex(kind) + payload).hex())
    until("the last one, which is honest, arrives", lambda: agent("sniffed", b"WORD00".hex()))
    arrived = {name for number, name in enumerate(frames) if agent("sniffed", f"WORD{number:02}".encode().hex())}
    assert arrived == {"honest"}
    seen = {name for number, name in enumerate(frames) if host("sniffed", f"WORD{number:02}".encode().hex())}
    # "straight" and "to everybody" are the thief's own addresses: the host may see them, the target does not
    assert seen <= {"honest", "straight to the target's MAC", "to everybody", "ARP to the target"}
    known = subprocess.run(["ip", "neigh", "show", "dev", bridge], capture_output=True, text=True, check=True).stdout
    told = {line.split()[0]: line.split()[2] for line in known.splitlines() if "lladdr" in line}
    assert told[he] == port["mac_address"]
    assert told.get(me, thief["mac_address"]) == thief["mac_address"]
    assert gateway not in told


# -- subnets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cidr",
    ["127.5.0.0/24", "169.254.1.0/24", "224.1.0.0/24", "0.0.0.0/0", "10.0.0.0/31", "10.0.0.0/7", "fd00::/64", "10.1.1.1/24",
     "nonsense", "192.0.2.0/24; drop", None, 7, "ROUTE", "OTHER", "PART", "WHOLE"],
)  # fmt: skip
def test_a_subnet_that_the_host_cannot_route_is_refused_and_changes_nothing(
    lan: Lan, network: str, cidr: object
) -> None:
    routed = [line.split()[0] for line in subprocess.run(["ip", "-4", "route"], capture_output=True, text=True,
                                                         check=True).stdout.splitlines()
              if "/" in line.split()[0] and not line.startswith("10.")]  # fmt: skip
    wanted = {"ROUTE": routed[0] if routed else "127.0.0.0/24", "OTHER": str(lan.ranges[1]),
              "PART": str(next(lan.ranges[1].subnets(new_prefix=28))), "WHOLE": str(lan.ranges[1].supernet(2))}  # fmt: skip
    new = lan.make("network", project="five")["id"]
    body = {"network_id": new, "ip_version": 4, "cidr": wanted.get(str(cidr), cidr)}
    before = lan.left()
    answer = lan.call("POST", "/subnets", {"subnet": body}, "five")
    assert answer.status_code == 400, answer.text
    assert answer.json()["NeutronError"]["message"]
    assert lan.left() == before
    assert lan.call("DELETE", f"/networks/{new}", project="five").status_code == 204


def test_a_network_that_is_deleted_leaves_no_bridge(lan: Lan) -> None:
    before = lan.left()
    network = lan.network(6)
    assert len(lan.left()) > len(before)
    answer = lan.call("GET", f"/networks/{network}").json()["network"]
    assert lan.call("DELETE", f"/subnets/{answer['subnets'][0]}").status_code == 204
    assert lan.call("DELETE", f"/networks/{network}").status_code == 204
    assert lan.left() == before
