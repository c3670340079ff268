"""The network of the store on this host: bridges, links of servers and the packet filter follow what the API says."""

import asyncio
import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path

from localcloud import firewall, links
from localcloud.links import Bridge, Links, Nic
from localcloud.rules import is_ipv4, protocol_number
from localcloud.store import Doc, Store


class HostNetwork:
    """Without privilege it does nothing: servers then share the host's network."""

    def __init__(self, store: Store, state: Path, *, endpoints: str, isolated: bool) -> None:
        self._store = store
        self._links = Links(state)
        self._endpoints = firewall.endpoints_of(endpoints)
        self.isolated = isolated
        self._bridges: list[Bridge] = []
        self._ruleset = ""
        self._one_at_a_time = asyncio.Lock()

    # -- the host comes up and goes down -----------------------------------------------------------------------------

    async def wake(self, running: set[str]) -> None:
        """Bring the host to what the store says; namespaces of servers that do not run are removed."""
        if not self.isolated:
            return
        await asyncio.to_thread(links.remove_abandoned)
        await asyncio.to_thread(self._links.register)
        await self.sync()
        for server_id in await asyncio.to_thread(self._links.servers):
            if server_id not in running:
                await asyncio.to_thread(self._links.unplug, server_id, self._interfaces(server_id))

    async def shut_down(self) -> None:
        """Remove everything from the host."""
        if self.isolated:
            async with self._one_at_a_time:
                await asyncio.to_thread(self._links.remove)

    async def sync(self) -> None:
        """Let bridges and packet filter follow the store; when it returns, they do."""
        if not self.isolated:
            return
        async with self._one_at_a_time:
            bridges, ruleset = list(self._wanted_bridges()), firewall.ruleset(self._plan())
            if ruleset != self._ruleset:
                await asyncio.to_thread(links.set_filter, ruleset)
                self._ruleset = ruleset
            if bridges != self._bridges:
                await asyncio.to_thread(self._links.set_bridges, bridges)
                self._bridges = bridges

    # -- servers -----------------------------------------------------------------------------------------------------

    async def plug(self, server: Doc, *, running: bool) -> str:
        """Give a server its namespace and links; return the namespace's path, empty without privilege."""
        if not self.isolated:
            return ""
        async with self._one_at_a_time:
            nics = list(self._nics(server))
            return await asyncio.to_thread(self._links.plug, server["id"], nics, running=running)

    async def unplug(self, server_id: str) -> None:
        """Remove a server's namespace and links; nothing of it may run."""
        if self.isolated:
            async with self._one_at_a_time:
                await asyncio.to_thread(self._links.unplug, server_id, self._interfaces(server_id))

    def _interfaces(self, server_id: str) -> list[str]:
        server = self._store.get("server", server_id)
        return [self._links.interface(each) for each in server["ports"]] if server else []

    def _nics(self, server: Doc) -> Iterator[Nic]:
        for key in server["ports"]:
            port = self._store.get("port", key)
            if port is None:
                continue
            bridge = self._links.bridge(port["network_id"])
            subnets = [(self._store.get("subnet", ip["subnet_id"]) or {}, ip) for ip in port["fixed_ips"]]
            addresses = tuple(f"{ip['ip_address']}/{ip_network(each['cidr']).prefixlen}" for each, ip in subnets)
            gateway = next((each["gateway_ip"] for each, _ in subnets if each["gateway_ip"]), None)
            yield Nic(self._links.interface(key), bridge, port["mac_address"], addresses, gateway)

    # -- what the store says -----------------------------------------------------------------------------------------

    def _wanted_bridges(self) -> Iterator[Bridge]:
        for network in self._store.all("network"):
            subnets = [each for each in self._store.all("subnet") if each["network_id"] == network["id"]]
            with_gateway = [each for each in subnets if each["gateway_ip"]]
            addresses = (f"{each['gateway_ip']}/{ip_network(each['cidr']).prefixlen}" for each in with_gateway)
            routes = (each["cidr"] for each in subnets if not each["gateway_ip"])
            yield Bridge(self._links.bridge(network["id"]), tuple(addresses), tuple(routes))

    def _plan(self) -> firewall.Plan:
        ports = [self._port(each) for each in self._store.all("port") if each["admin_state_up"]]
        return firewall.Plan(
            table=self._links.tag,
            bridges=tuple(self._links.bridge(each["id"]) for each in self._store.all("network")),
            ports=tuple(ports),
            groups={each["id"]: tuple(self._rules(each["id"])) for each in self._store.all("security_group")},
            floating=self._floating(),
            endpoints=self._endpoints,
        )

    def _port(self, port: Doc) -> firewall.Port:
        return firewall.Port(
            id=port["id"],
            interface=self._links.interface(port["id"]),
            mac=port["mac_address"],
            addresses=firewall.ipv4(each["ip_address"] for each in port["fixed_ips"]),
            groups=tuple(port["security_groups"]),
            filtered=bool(port["port_security_enabled"]),
        )

    def _rules(self, group_id: str) -> Iterator[firewall.Rule]:
        for each in self._store.all("security_group_rule"):
            if each["security_group_id"] == group_id and is_ipv4(each):
                prefix = each["remote_ip_prefix"]
                yield firewall.Rule(
                    ingress=each["direction"] == "ingress",
                    protocol=protocol_number(each["protocol"]),
                    first=each["port_range_min"],
                    last=each["port_range_max"],
                    prefix=IPv4Network(prefix, strict=False) if prefix else None,
                    remote_group=each["remote_group_id"],
                )

    def _floating(self) -> dict[IPv4Address, IPv4Address]:
        bound = [each for each in self._store.all("floatingip") if each["fixed_ip_address"]]
        return {IPv4Address(each["floating_ip_address"]): IPv4Address(each["fixed_ip_address"]) for each in bound}


def taken_by_host(cidr: IPv4Network | IPv6Network) -> str | None:
    """A network that the host has a route to and that overlaps; None when there is none."""
    for each in links.routes():
        with contextlib.suppress(ValueError):
            there = ip_interface(each).network
            split_default = there.prefixlen < 8  # 0.0.0.0/1 and its like: a VPN's way to say "all the rest"
            if isinstance(there, IPv4Network) and not split_default and there.overlaps(cidr):
                return each
    return None
