"""Rules of security groups: what Neutron takes, and what it says of the rest."""

from ipaddress import ip_network
from typing import Any

from localcloud.http import Refusal
from localcloud.store import Doc

DEFAULTS: Doc = {"direction": "ingress", "ethertype": "IPv4", "protocol": None, "port_range_min": None,
                 "port_range_max": None, "remote_ip_prefix": None, "remote_group_id": None}  # fmt: skip
PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
    "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
WITH_PORTS = {6, 17, 33, 132, 136}
ICMP = {1, 58}
FOR_IPV6 = {41, 43, 44, 58, 59, 60}
ETHERTYPES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def checked(wanted: Doc) -> Doc:
    """A rule with every attribute in its usual form; Refusal as Neutron words it."""
    rule = {**DEFAULTS, **wanted}
    rule["direction"] = _one_of("direction", rule["direction"], {"ingress": "ingress", "egress": "egress"})
    rule["ethertype"] = _one_of("ethertype", rule["ethertype"] or "IPv4", ETHERTYPES)
    rule["protocol"] = _protocol(rule["protocol"])
    for name in ("port_range_min", "port_range_max"):
        rule[name] = _number(name, rule[name])
    _check_range(rule)
    _check_remote(rule)
    return rule


def protocol_number(protocol: str | None) -> int | None:
    """The IP protocol's number; None for any."""
    if protocol in (None, "any", "0"):
        return None
    return PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)


def is_ipv4(rule: Doc) -> bool:
    """Whether a rule lets IPv4 packets pass at all."""
    return bool(rule["ethertype"] == "IPv4") and protocol_number(rule["protocol"]) not in FOR_IPV6


def _refused(text: str, kind: str = "HTTPBadRequest") -> Refusal:
    return Refusal(400, text, kind)


def _one_of(name: str, value: Any, known: dict[str, str]) -> str:
    found = known.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise _refused(f"Invalid input for {name}. Reason: '{value}' is not in {sorted(known.values())}.")
    return found


def _protocol(value: Any) -> str | None:
    if value is None or value == "":
        return None
    text = str(value).lower()
    if text in PROTOCOLS or text == "any" or (text.isascii() and text.isdigit() and int(text) <= 255):
        return text
    listed = [None, *PROTOCOLS]
    text = (
        f"Security group rule protocol {value} not supported. Only protocol values {listed} and integer representations"
        " [0 to 255] are supported."
    )
    raise _refused(text, "SecurityGroupRuleInvalidProtocol")


def _number(name: str, value: Any) -> int | None:
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise _refused(f"Invalid input for {name}. Reason: '{value}' is not a port number.")
    return int(text)


def _check_range(rule: Doc) -> None:
    first, last, protocol = rule["port_range_min"], rule["port_range_max"], protocol_number(rule["protocol"])
    if first is None and last is None:
        return
    if protocol is None:
        raise _refused("Must also specify protocol if port range is given.", "SecurityGroupProtocolRequiredWithPorts")
    if protocol in ICMP:
        _check_icmp(first, last)
    elif protocol not in WITH_PORTS:
        text = f"Invalid input for operation: Invalid port range for protocol {rule['protocol']}: it has no ports."
        raise _refused(text, "InvalidInput")
    elif not (first and last and first <= last):
        text = "For TCP/UDP protocols, port_range_min must be <= port_range_max, and both from 1 to 65535."
        raise _refused(text, "SecurityGroupInvalidPortRange")


def _check_icmp(kind: int | None, code: int | None) -> None:
    for name, field, value in (("type", "port-range-min", kind), ("code", "port-range-max", code)):
        if value is not None and value > 255:
            text = f"Invalid value for ICMP {name} ({field}) {value}. It must be 0 to 255."
            raise _refused(text, "SecurityGroupInvalidIcmpValue")
    if kind is None:
        text = f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing."
        raise _refused(text, "SecurityGroupMissingIcmpType")


def _check_remote(rule: Doc) -> None:
    prefix, group = rule["remote_ip_prefix"], rule["remote_group_id"]
    if prefix and group:
        text = "Only remote_ip_prefix or remote_group_id may be provided."
        raise _refused(text, "SecurityGroupRemoteGroupAndRemoteIpPrefix")
    if not prefix:
        rule["remote_ip_prefix"] = None
        return
    try:
        network = ip_network(str(prefix), strict=False)
    except ValueError as error:
        raise _refused(f"Invalid input for remote_ip_prefix. Reason: {error}") from error
    if f"IPv{network.version}" != rule["ethertype"]:
        text = f"Conflicting value ethertype {rule['ethertype']} for CIDR {prefix}"
        raise _refused(text, "SecurityGroupRuleParameterConflict")
    rule["remote_ip_prefix"] = str(network)
