"""Bridges, namespaces and the links between them, with `ip`. Standard library alone.

    python3 -m localcloud.links STATE      remove what a cloud with this state left behind

Every network is a bridge on the host, which has the gateway's address; every server is a network namespace with one
link to the bridge of each of its ports. The bridge's ports are isolated: frames do not pass from one server to another.
The host answers ARP for the other servers instead (a private VLAN), so packets between servers pass the host's IP stack
and its packet filter. All names begin with a tag made from the state's path: several clouds on one machine do not
meet, and each finds what is its own.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REGISTER = Path("/run/localcloud")  # one file per tag with the state's path; like the links it goes with a reboot
NAMESPACES = Path("/run/netns")


def program(name: str) -> str:
    """A tool's path; where PATH lacks the system's folders, too."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin") or name


@dataclass(frozen=True)
class Bridge:
    """A network's bridge and the host's addresses on it (with their prefix lengths)."""

    name: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...] = ()  # of subnets without a gateway


@dataclass(frozen=True)
class Nic:
    """A server's link to a bridge; the server's end is eth0, eth1, …"""

    interface: str
    bridge: str
    mac: str
    addresses: tuple[str, ...]
    gateway: str | None


class Links:
    """The links of one cloud."""

    def __init__(self, state: Path) -> None:
        self._state = state.resolve()
        self.tag = tag_of(self._state)

    def bridge(self, network_id: str) -> str:
        """Name of a network's bridge."""
        return f"{self.tag}b{network_id.replace('-', '')[:7]}"

    def interface(self, port_id: str) -> str:
        """Name of the host's end of a port's link."""
        return f"{self.tag}v{port_id.replace('-', '')[:7]}"

    def namespace(self, server_id: str) -> str:
        """Name of a server's namespace."""
        return f"{self.tag}-{server_id}"

    def register(self) -> None:
        """Say whose tag this is, for what is left behind to be found."""
        REGISTER.mkdir(exist_ok=True)
        (REGISTER / self.tag).write_text(str(self._state))

    # -- bridges -----------------------------------------------------------------------------------------------------

    def set_bridges(self, wanted: Iterable[Bridge]) -> None:
        """Make the bridges what they should be: new ones, other addresses, and none that is not wanted."""
        there = {each["ifname"]: each for each in _shown("addr") if each["ifname"].startswith(f"{self.tag}b")}
        keep = {each.name: each for each in wanted}
        _ip([f"link del dev {name}" for name in there if name not in keep], force=True)
        new = [each for each in keep.values() if each.name not in there]
        _ip([f"link add dev {each.name} address {_mac_of(each.name)} type bridge" for each in new])
        for each in new:
            _configure(each.name)
        _ip([line for each in keep.values() for line in _addressed(each, there.get(each.name))])

    # -- servers -----------------------------------------------------------------------------------------------------

    def plug(self, server_id: str, nics: list[Nic], *, running: bool) -> str:
        """Give a server its namespace and links, recreated unless it runs; return the namespace's path."""
        name = self.namespace(server_id)
        if not running:
            self.unplug(server_id, [each.interface for each in nics])
        if not (NAMESPACES / name).exists():
            _ip([f"netns add {name}"])
        there = {each["ifname"] for each in _shown("link")}
        new = [(number, each) for number, each in enumerate(nics) if each.interface not in there]
        _ip([line for number, each in new for line in _pair(name, number, each)])
        _ip([line for each in nics for line in _attached(each)])
        _ip(list(_inside(new, first=not running)), namespace=name)
        return str(NAMESPACES / name)

    def unplug(self, server_id: str, interfaces: Iterable[str]) -> None:
        """Remove a server's links and namespace; no error if there are none."""
        name = self.namespace(server_id)
        there = {each["ifname"] for each in _shown("link")}
        _ip([f"link del dev {each}" for each in interfaces if each in there], force=True)
        if (NAMESPACES / name).exists():
            _ip([f"netns del {name}"], force=True)

    def servers(self) -> list[str]:
        """The ids of servers that have a namespace."""
        prefix = f"{self.tag}-"
        return [each.removeprefix(prefix) for each in _namespaces() if each.startswith(prefix)]

    def remove(self) -> None:
        """Remove everything of this tag: processes, namespaces, links, the packet filter."""
        mine = [each for each in _namespaces() if each.startswith(f"{self.tag}-")]
        for name in mine:
            _end_processes(name)
        links = [each["ifname"] for each in _shown("link") if each["ifname"].startswith(self.tag)]
        _ip([f"link del dev {each}" for each in links] + [f"netns del {each}" for each in mine], force=True)
        set_filter(filter_removal(self.tag))
        (REGISTER / self.tag).unlink(missing_ok=True)


def tag_of(state: Path) -> str:
    """What the names of a cloud's links begin with; seven letters of the fifteen that a link's name may have."""
    return "lc" + hashlib.sha256(str(state).encode()).hexdigest()[:5]


def remove_abandoned() -> None:
    """Remove what belongs to clouds whose state is gone."""
    for each in sorted(REGISTER.glob("lc*")):
        state = Path(each.read_text())
        if not state.exists() and each.name == tag_of(state):
            Links(state).remove()


def routes() -> list[str]:
    """The networks that the host has routes or addresses in, but for default routes."""
    return [each["dst"] for each in _shown("-4", "route", "show", "table", "all") if each["dst"] != "default"]


# -- `ip` ------------------------------------------------------------------------------------------------------------


def _ip(lines: list[str], *, namespace: str = "", force: bool = False) -> None:
    """Run commands in one go; OSError when one fails, unless forced: then the others are done."""
    if not lines:
        return
    command = [program("ip"), *(["-n", namespace] if namespace else []), *(["-force"] if force else []), "-batch", "-"]
    done = subprocess.run(command, input="\n".join([*lines, ""]), capture_output=True, text=True)
    if done.returncode and not force:
        raise OSError(f"ip refuses: {done.stderr.strip()[:500]}")


def set_filter(ruleset: str) -> None:
    """Have the kernel take an nftables ruleset in one transaction; OSError with nft's words when it refuses."""
    done = subprocess.run([program("nft"), "-f", "-"], input=ruleset, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"nft refuses the packet filter: {done.stderr[:500]}")


def filter_removal(table: str) -> str:
    """What removes the tables of a packet filter, and is content when there are none."""
    return "".join(f"table {family} {table} {{}}\ndelete table {family} {table}\n" for family in ("inet", "bridge"))


def _shown(*what: str) -> list[Any]:
    done = subprocess.run([program("ip"), "-json", *what], capture_output=True, text=True, check=True)
    found: list[Any] = json.loads(done.stdout or "[]")
    return found


def _namespaces() -> list[str]:
    return sorted(os.listdir(NAMESPACES)) if NAMESPACES.exists() else []


def _mac_of(name: str) -> str:
    """A MAC address that stays: a bridge's own changes with its ports."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return "fe:16:3e:" + ":".join(digest[at : at + 2] for at in (0, 2, 4))


def _configure(name: str) -> None:
    """Private VLAN: forward and answer ARP within the bridge. Servers get no other address of the host by ARP."""
    said = {
        "ipv6/conf/{}/disable_ipv6": 1,
        "ipv4/conf/{}/forwarding": 1,
        "ipv4/conf/{}/proxy_arp_pvlan": 1,
        "ipv4/neigh/{}/proxy_delay": 0,
        "ipv4/conf/{}/arp_ignore": 1,
        "ipv4/conf/{}/rp_filter": 1,
        "ipv4/conf/{}/accept_redirects": 0,
        "ipv4/conf/{}/send_redirects": 0,
        "ipv4/conf/{}/route_localnet": 1,  # endpoints may lead to 127.0.0.1; the filter drops what is sent there itself
    }
    for path, value in said.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path("/proc/sys/net", path.format(name)).write_text(f"{value}\n")


def _addressed(wanted: Bridge, found: "dict[str, Any] | None") -> Iterator[str]:
    has = {f"{each['local']}/{each['prefixlen']}" for each in (found or {}).get("addr_info", [])
           if each["family"] == "inet"}  # fmt: skip
    for each in sorted(has - set(wanted.addresses)):
        yield f"addr del {each} dev {wanted.name}"
    for each in wanted.addresses:
        if each not in has:
            yield f"addr add {each} dev {wanted.name}"
    yield f"link set dev {wanted.name} up"
    for each in wanted.routes:
        yield f"route replace {each} dev {wanted.name}"


def _pair(namespace: str, number: int, nic: Nic) -> Iterator[str]:
    yield f"link add dev {nic.interface} type veth peer name eth{number} address {nic.mac} netns {namespace}"
    yield f"link set dev {nic.interface} addrgenmode none"


def _attached(nic: Nic) -> Iterator[str]:
    yield f"link set dev {nic.interface} master {nic.bridge} up"
    yield f"link set dev {nic.interface} type bridge_slave isolated on"


def _inside(new: list[tuple[int, Nic]], *, first: bool) -> Iterator[str]:
    if first:
        yield "link set dev lo up"
    for number, nic in new:
        yield f"link set dev eth{number} addrgenmode none"
        for each in nic.addresses:
            yield f"addr add {each} dev eth{number}"
        yield f"link set dev eth{number} up"
    gateway = next((nic.gateway for _, nic in new if nic.gateway), None)
    if gateway:
        yield f"route replace default via {gateway}"


def _end_processes(namespace: str) -> None:
    listed = subprocess.run([program("ip"), "netns", "pids", namespace], capture_output=True, text=True)
    for each in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(each), signal.SIGKILL)


if __name__ == "__main__":
    Links(Path(sys.argv[1])).remove()
