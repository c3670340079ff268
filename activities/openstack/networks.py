"""The port `Networks`, over Neutron."""

import ipaddress
from typing import Any

from openstack import exceptions as said
from openstack.connection import Connection
from temporalio import activity

from activities.openstack.connection import Connections, name_of, name_of_part
from activities.openstack.errors import translated
from activities.openstack.lookup import by_id_or_name
from contract.domain.access import AccessRules
from contract.domain.errors import BadRequest, NotYet, ResourceFailed
from contract.domain.instance import Address
from contract.domain.resources import Belongings, ResourceKind
from contract.ports.cloud import FloatingIpOrder, Networks, Port, ResourceOrder

Source = tuple[int, str]  # a port, and the CIDR or the group that may reach it


class NeutronNetworks(Networks):
    """Names derive from the instance id, so a retry finds what a lost answer left behind."""

    def __init__(self, connections: Connections, external_network: str) -> None:
        self._connections = connections
        self._external_network = external_network

    @activity.defn
    @translated("open the database's port")
    def create_security_group(self, order: ResourceOrder) -> str:
        """Find or make the group, then the rules that it lacks."""
        network, name = self._connections.get().network, name_of(order.instance_id)
        group = _first(network.security_groups(name=name)) or network.create_security_group(
            name=name, description=f"database {order.instance_id}"
        )
        rules = AccessRules(instance_id=order.instance_id, ports=order.ports, access=order.access)
        _add_rules(network, group.id, _wanted(group.id, rules) - _there(network, group.id).keys())
        return str(group.id)

    @activity.defn
    @translated("change who may reach the database")
    def set_access_rules(self, rules: AccessRules) -> None:
        """Compare what is there with what is wanted."""
        network = self._connections.get().network
        group = _first(network.security_groups(name=name_of(rules.instance_id)))
        if group is None:
            raise ResourceFailed(f"the security group of {rules.instance_id} is gone from Neutron")
        wanted, there = _wanted(group.id, rules), _there(network, group.id)
        _add_rules(network, group.id, wanted - there.keys())
        for source in there.keys() - wanted:
            network.delete_security_group_rule(there[source])

    @activity.defn
    @translated("make the network port")
    def create_port(self, order: ResourceOrder) -> Port:
        """Find or make the port; of several of its name the oldest is kept."""
        conn, name = self._connections.get(), name_of(order.instance_id)
        ports = sorted(conn.network.ports(name=name), key=lambda each: each.created_at or "")
        port = ports[0] if ports else conn.network.create_port(**_port(conn, order, name))
        for double in ports[1:]:
            conn.network.delete_port(double)
        addresses = [
            Address(address=each["ip_address"], type="private", network=str(port.network_id)) for each in port.fixed_ips
        ]
        return Port(id=port.id, addresses=tuple(addresses))

    @activity.defn
    @translated("give the database a public address")
    def create_floating_ip(self, order: FloatingIpOrder) -> Address:
        """Find or make the address that is bound to the port."""
        network = self._connections.get().network
        found = _first(network.ips(port_id=order.port_id)) or network.create_ip(
            floating_network_id=self._external(),
            port_id=order.port_id,
            description=name_of(order.instance_id),
        )
        return Address(address=found.floating_ip_address, type="public", network=str(found.floating_network_id))

    def _external(self) -> str:
        network = self._connections.get().network
        if self._external_network:
            found = by_id_or_name(network.networks, self._external_network)
        else:
            found = _first(network.networks(is_router_external=True))
        if found is None:
            raise BadRequest("there is no external network to give the database a public address from")
        return str(found.id)

    @activity.defn
    @translated("delete the public address")
    def delete_floating_ips_of(self, belongings: Belongings) -> None:
        """Delete what is described by the instance's name."""
        network = self._connections.get().network
        for each in network.ips(description=name_of(belongings.instance_id)):
            network.delete_ip(each)

    @activity.defn
    @translated("delete the network port")
    def delete_ports_of(self, belongings: Belongings) -> None:
        """Delete every port of the instance."""
        network = self._connections.get().network
        names = [name_of_part(part) for part in belongings.parts(ResourceKind.PORT)]
        for each in network.ports(name=names):
            network.delete_port(each)
        if _first(network.ports(name=names)) is not None:
            raise NotYet(f"the port of {belongings.instance_id} is being deleted")

    @activity.defn
    @translated("delete the security group")
    def delete_security_groups_of(self, belongings: Belongings) -> None:
        """Delete every security group of the instance's name; one still in use is not yet."""
        network = self._connections.get().network
        for each in network.security_groups(name=name_of(belongings.instance_id)):
            try:
                network.delete_security_group(each)
            except said.ConflictException as error:
                raise NotYet(f"security group {each.id} is in use") from error


def _wanted(group_id: str, rules: AccessRules) -> set[Source]:
    cidrs = {_canonical(each) for each in rules.access.allowed_cidrs or ("0.0.0.0/0",)}
    return {(port.number, remote) for port in rules.ports for remote in ({group_id} if port.inside else cidrs)}


def _there(network: Any, group_id: str) -> dict[Source, str]:
    """Ids of the rules that let somebody in."""
    return {
        (each.port_range_min, each.remote_group_id or _canonical(each.remote_ip_prefix)): str(each.id)
        for each in network.security_group_rules(security_group_id=group_id, direction="ingress")
    }


def _add_rules(network: Any, group_id: str, missing: set[Source]) -> None:
    for port, remote in sorted(missing):
        network.create_security_group_rule(
            security_group_id=group_id,
            direction="ingress",
            ether_type="IPv6" if ":" in remote else "IPv4",
            protocol="tcp",
            port_range_min=port,
            port_range_max=port,
            **{"remote_group_id" if remote == group_id else "remote_ip_prefix": remote},
        )


def _canonical(cidr: str | None) -> str:
    """As Neutron writes it back: without bits below the prefix. A rule without a prefix lets everybody in."""
    try:
        return str(ipaddress.ip_network(cidr or "0.0.0.0/0", strict=False))
    except ValueError:
        return str(cidr)  # for Neutron to refuse


def _port(conn: Connection, order: ResourceOrder, name: str) -> dict[str, Any]:
    group = _first(conn.network.security_groups(name=name))
    fixed: dict[str, str] = {}
    if order.offer.subnet_id:
        fixed["subnet_id"] = order.offer.subnet_id
    if order.ip_address:
        fixed["ip_address"] = order.ip_address
    wanted: dict[str, Any] = {"name": name, "network_id": order.offer.network_id, "description": order.name}
    if fixed:
        wanted["fixed_ips"] = [fixed]
    if group is not None:
        wanted["security_group_ids"] = [group.id]
    return wanted


def _first(found: Any) -> Any:
    return next(iter(found), None)
