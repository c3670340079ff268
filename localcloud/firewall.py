"""The packet filter: ports, security groups, floating IPs and the host's endpoints as one nftables ruleset.

All traffic of servers passes the host's IP stack, also between two servers of one network (see links.py), so one
`inet` table filters all of it. The egress rules of a port are checked when a packet comes in from its server, before
any address is translated; the ingress rules when it goes out to the server, after that. A `bridge` table lets in only
frames with the addresses of the port they come from.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from localcloud.links import filter_removal

FLOWS = 4096  # connections that one server may have open: the kernel's table of them is the host's


@dataclass(frozen=True)
class Rule:
    """A security group's rule for IPv4."""

    ingress: bool
    protocol: int | None = None
    first: int | None = None  # port, or type of ICMP
    last: int | None = None  # port, or code of ICMP
    prefix: IPv4Network | None = None
    remote_group: str | None = None


@dataclass(frozen=True)
class Port:
    """A port as the filter sees it."""

    id: str
    interface: str
    mac: str
    addresses: tuple[IPv4Address, ...]
    groups: tuple[str, ...] = ()
    filtered: bool = True


@dataclass(frozen=True)
class Endpoint:
    """An address and TCP port that servers reach, and where on the host it leads."""

    address: IPv4Address
    port: int
    target: IPv4Address
    target_port: int


@dataclass(frozen=True)
class Plan:
    """All that the filter is made from."""

    table: str
    bridges: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    groups: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    floating: Mapping[IPv4Address, IPv4Address] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()


def endpoints_of(text: str) -> tuple[Endpoint, ...]:
    """Read `ADDRESS:PORT=ADDRESS:PORT,…`; ValueError when it says something else."""
    return tuple(_endpoint(each.strip()) for each in text.split(",") if each.strip())


def _endpoint(text: str) -> Endpoint:
    (address, port), (target, target_port) = (each.rsplit(":", 1) for each in text.split("="))
    return Endpoint(IPv4Address(address), int(port), IPv4Address(target), int(target_port))


def ruleset(plan: Plan) -> str:
    """The whole filter, to replace what is there in one transaction."""
    lines = [
        filter_removal(plan.table),
        f"table inet {plan.table} {{",
        *_sets(plan),
        *_base_chains(plan),
        *_groups(plan),
    ]
    lines += [line for port in plan.ports for line in _port_chains(port, plan)]
    lines += [*_verdicts(plan), *_from_servers(), *_to_servers(), *_to_host(plan), "}"]
    return "\n".join([*lines, *_bridge_table(plan), ""])


def _sets(plan: Plan) -> list[str]:
    addresses = [each for port in plan.ports for each in port.addresses]
    floating = plan.floating.items()
    return [
        *_set("set same_network", "ifname . ifname", (f'"{each}" . "{each}"' for each in plan.bridges)),
        *_set("set itself", "ipv4_addr . ipv4_addr", (f"{each} . {each}" for each in addresses)),
        *_set("set translated", "ipv4_addr . ipv4_addr", (f"{public} . {fixed}" for public, fixed in floating)),
        *_set("map floating", "ipv4_addr : ipv4_addr", (f"{public} : {fixed}" for public, fixed in floating)),
        f"set flows {{ type ipv4_addr; flags dynamic; size {2**16}; }}",
    ]


def _set(name: str, kind: str, elements: Iterable[str]) -> list[str]:
    listed = ", ".join(dict.fromkeys(elements))
    return [f"{name} {{ type {kind};" + (f" elements = {{ {listed} }};" if listed else "") + " }"]


def _chain(name: str, *rules: str) -> list[str]:
    return [f"chain {name} {{", *rules, "}"]


def _bridges(plan: Plan) -> str:
    """All of them by their common prefix: also one that was made a moment ago is never without the filter."""
    return f'"{plan.table}b*"'


def _base_chains(plan: Plan) -> list[str]:
    bridges = _bridges(plan)
    endpoints = [
        f"iifname {bridges} ip daddr {each.address} tcp dport {each.port} dnat ip to {each.target}:{each.target_port}"
        for each in plan.endpoints
    ]
    return [
        # jumps to chains that are defined below: one transaction, so the order does not matter to the kernel
        *_chain("from_servers"), *_chain("to_servers"), *_chain("to_host"),
        *_chain("egress", "type filter hook prerouting priority -120;", f"iifname {bridges} jump from_servers"),
        *_chain("translate", "type nat hook prerouting priority -100;", *endpoints,
                f"iifname != {bridges} dnat ip to ip daddr map @floating"),
        *_chain("translate_own", "type nat hook output priority -100;", "dnat ip to ip daddr map @floating"),
        *_chain("input", "type filter hook input priority 0;", f"iifname {bridges} jump to_host"),
        *_chain("forward", "type filter hook forward priority 0;", *_forward(bridges)),
        *_chain("ingress", "type filter hook postrouting priority 0;", f"oifname {bridges} jump to_servers"),
    ]  # fmt: skip


def _forward(bridges: str) -> list[str]:
    """Between servers of one network, and from outside to a floating IP; nothing else."""
    return [
        "iifname . oifname @same_network accept",
        f"iifname {bridges} ct direction reply ct state established,related accept",
        f"iifname {bridges} drop",
        f"oifname {bridges} ct direction original ct status & dnat == 0 drop",
    ]


def _from_servers() -> list[str]:
    return _chain(
        "from_servers",
        "meta nfproto != ipv4 drop",
        "ip daddr 127.0.0.0/8 drop",
        "ct state invalid drop",
        # an error message about a connection of the server's own, not about one of somebody else
        "ct state related ct reply ip saddr . ip saddr @itself accept",
        "ct state related ct original ip saddr . ip saddr @itself accept",
        "ct state related drop",
        "ct state established ct direction reply accept",
        f"ct state new add @flows {{ ip saddr ct count over {FLOWS} }} drop",
        "ip saddr vmap @egress_of",
        "drop",
    )


def _to_servers() -> list[str]:
    """Each packet of the original direction is judged, so that a rule that is taken away ends connections."""
    return _chain(
        "to_servers",
        "meta nfproto != ipv4 drop",
        "icmp type redirect drop",
        "ct state invalid drop",
        "ct state related accept",
        "ct state established ct direction reply accept",
        "ct status dnat ct original ip daddr . ip daddr != @translated drop",
        "ip daddr vmap @ingress_of",
        "drop",
    )


def _to_host(plan: Plan) -> list[str]:
    targets = dict.fromkeys(f"{each.target} . {each.target_port}" for each in plan.endpoints)
    allowed = [f"ct status dnat ip daddr . tcp dport {{ {', '.join(targets)} }} accept"] if targets else []
    return _chain(
        "to_host", "ct state related accept", "ct state established ct direction reply accept", *allowed, "drop"
    )


# -- security groups -------------------------------------------------------------------------------------------------


def _name(prefix: str, key: str) -> str:
    return f"{prefix}_{key.replace('-', '')}"


def _groups(plan: Plan) -> Iterator[str]:
    for key in plan.groups:
        members = [str(address) for port in plan.ports if key in port.groups for address in port.addresses]
        yield from _set(f"set {_name('members', key)}", "ipv4_addr", members)
    for key, rules in plan.groups.items():
        for ingress in (True, False):
            lines = [_rule(rule, plan) for rule in rules if rule.ingress is ingress]
            yield from _chain(_name("in" if ingress else "out", key), *(each for each in lines if each))


def _rule(rule: Rule, plan: Plan) -> str:
    side, words = "saddr" if rule.ingress else "daddr", []
    if rule.remote_group is not None:
        if rule.remote_group not in plan.groups:
            return ""
        words.append(f"ip {side} @{_name('members', rule.remote_group)}")
    if rule.prefix is not None:
        words.append(f"ip {side} {rule.prefix}")
    if rule.protocol is not None:
        words.append(f"meta l4proto {rule.protocol}")
        words += _details(rule)
    return " ".join([*words, "accept"])


def _details(rule: Rule) -> list[str]:
    if rule.first is None:
        return []
    if rule.protocol == 1:
        return [f"icmp type {rule.first}"] + ([f"icmp code {rule.last}"] if rule.last is not None else [])
    return [f"th dport {rule.first}-{rule.first if rule.last is None else rule.last}"]


def _port_chains(port: Port, plan: Plan) -> list[str]:
    """A port without port security is open; one without groups lets nothing through."""
    open_ = [] if port.filtered else ["accept"]
    known = [each for each in port.groups if each in plan.groups]
    return [
        *_chain(_name("port_in", port.id), *open_, *(f"jump {_name('in', each)}" for each in known), "drop"),
        *_chain(_name("port_out", port.id), *open_, *(f"jump {_name('out', each)}" for each in known), "drop"),
    ]


def _verdicts(plan: Plan) -> list[str]:
    pairs = [(address, port.id) for port in plan.ports for address in port.addresses]
    return [
        *_set("map ingress_of", "ipv4_addr : verdict", (f"{a} : jump {_name('port_in', key)}" for a, key in pairs)),
        *_set("map egress_of", "ipv4_addr : verdict", (f"{a} : jump {_name('port_out', key)}" for a, key in pairs)),
    ]


# -- who may say to be who -------------------------------------------------------------------------------------------


def _bridge_table(plan: Plan) -> list[str]:
    triples = [f'"{port.interface}" . {port.mac} . {each}' for port in plan.ports for each in port.addresses]
    prefix = f"{plan.table}v*"  # every interface of a server, also one that is not known any more
    return [
        f"table bridge {plan.table} {{",
        *_set("set ports", "ifname . ether_addr . ipv4_addr", triples),
        *_chain("from_server",
                "ether type ip iifname . ether saddr . ip saddr @ports accept",
                "arp htype 1 arp ptype ip iifname . ether saddr . arp saddr ip @ports"
                " iifname . arp saddr ether . arp saddr ip @ports accept",
                "drop"),
        *_chain("prerouting", "type filter hook prerouting priority -300;", f'iifname "{prefix}" jump from_server'),
        "}",
    ]  # fmt: skip


def ipv4(addresses: Iterable[str]) -> tuple[IPv4Address, ...]:
    """Those of the addresses that are IPv4."""
    parsed = (ipaddress.ip_address(each) for each in addresses)
    return tuple(each for each in parsed if isinstance(each, IPv4Address))
