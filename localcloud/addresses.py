"""Subnets and the addresses in them: what is taken, what is refused, what a port is given."""

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from localcloud.http import Refusal
from localcloud.store import Doc

Address = IPv4Address | IPv6Address


def subnet_of(wanted: Doc) -> Doc:
    """A subnet with Neutron's defaults: the first address is the gateway's, the pool is all others."""
    try:
        cidr = ip_network(str(wanted.get("cidr")))
    except ValueError as error:
        raise Refusal(400, f"Invalid input for cidr. Reason: {error}.", "HTTPBadRequest") from error
    if cidr.num_addresses < 4:
        raise _invalid(f"Requested subnet with cidr: {cidr} has no room for a gateway and a port.")
    gateway = _gateway(cidr, wanted)
    pools = wanted.get("allocation_pools") or list(_pools(cidr, gateway))
    defaults = {"enable_dhcp": True, "dns_nameservers": [], "host_routes": [], "ipv6_ra_mode": None,
                "ipv6_address_mode": None, "subnetpool_id": None}  # fmt: skip
    own = {"cidr": str(cidr), "ip_version": cidr.version, "gateway_ip": gateway,
           "allocation_pools": [_checked_pool(cidr, each) for each in pools]}  # fmt: skip
    return {**defaults, **wanted, **own}


def refuse_unroutable(subnet: Doc, others: list[Doc], host: str | None) -> None:
    """Refuse what the host cannot route: IPv6, special ranges, and what overlaps another subnet or a route."""
    cidr = ip_network(subnet["cidr"])
    if not isinstance(cidr, IPv4Network):
        raise _invalid(f"Requested subnet with cidr: {cidr}: IPv6 is not supported here.")
    if cidr.is_loopback or cidr.is_link_local or cidr.is_multicast or cidr.is_unspecified or cidr.prefixlen < 8:
        raise _invalid(f"Requested subnet with cidr: {cidr} is not a range for hosts.")
    text = f"Requested subnet with cidr: {cidr} for network: {subnet['network_id']} overlaps with"
    for each in others:
        there = ip_network(each["cidr"])
        if isinstance(there, IPv4Network) and there.overlaps(cidr):
            raise _invalid(f"{text} another subnet.")
    if host is not None:
        raise _invalid(f"{text} {host}, to which the host has a route.")


def _invalid(text: str) -> Refusal:
    return Refusal(400, f"Invalid input for operation: {text}", "InvalidInput")


def _gateway(cidr: IPv4Network | IPv6Network, wanted: Doc) -> str | None:
    if "gateway_ip" not in wanted:
        return str(cidr[1])
    if wanted["gateway_ip"] is None:
        return None
    return str(_within(cidr, wanted["gateway_ip"], "Gateway"))


def _within(cidr: IPv4Network | IPv6Network, text: object, what: str) -> Address:
    try:
        address = ip_address(str(text))
    except ValueError as error:
        raise _invalid(f"{what} {text} is not an address.") from error
    if address not in cidr or address in (cidr[0], cidr[-1]):
        raise _invalid(f"{what} {text} is not valid on subnet {cidr}.")
    return address


def _pools(cidr: IPv4Network | IPv6Network, gateway: str | None) -> Iterator[Doc]:
    first, last = int(cidr[1]), int(cidr[-2])
    middle = int(ip_address(gateway)) if gateway else first - 1
    for start, end in ((first, middle - 1), (middle + 1, last)):
        if start <= end:
            yield {"start": str(ip_address(start)), "end": str(ip_address(end))}


def _checked_pool(cidr: IPv4Network | IPv6Network, pool: object) -> Doc:
    said = pool if isinstance(pool, dict) else {}
    start, end = (_within(cidr, said.get(each), "Allocation pool's address") for each in ("start", "end"))
    if int(start) > int(end):
        raise _invalid(f"Allocation pool {start}-{end} is not valid.")
    return {"start": str(start), "end": str(end)}


def inside(address: str, cidr: str) -> bool:
    """Whether a port may have an address in a subnet."""
    try:
        found, network = ip_address(address), ip_network(cidr)
    except ValueError:
        return False
    return found in network and found not in (network[0], network[-1])


def free_in(subnet: Doc, taken: set[str]) -> str | None:
    """The first address of the subnet's pools that nobody has."""
    for pool in subnet["allocation_pools"]:
        first, last = ip_address(pool["start"]), ip_address(pool["end"])
        for number in range(int(first), int(last) + 1):
            free = str(ip_address(number))
            if free not in taken and free != subnet["gateway_ip"]:
                return free
    return None


def new_mac() -> str:
    """A MAC address as Neutron makes them."""
    return "fa:16:3e:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))


def mac_of(text: object) -> str:
    """A MAC address in its usual form; Refusal for anything that a port cannot have."""
    parts = str(text).split(":")
    digits = set("0123456789abcdefABCDEF")
    if len(parts) != 6 or any(len(each) != 2 or not set(each) <= digits for each in parts) or int(parts[0], 16) & 1:
        raise Refusal(400, f"Invalid input for mac_address. Reason: '{text}' is not a valid MAC address.",
                      "HTTPBadRequest")  # fmt: skip
    return str(text).lower()
