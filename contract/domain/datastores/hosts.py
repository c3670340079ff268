"""Hosts of MariaDB's users: which forms there are, in which one an account is kept, and whom they let in.

The server knows addresses, as it prints those of its clients; patterns of that text with `%` and `_`; and a base with a
netmask, for IPv4. It resolves no names (`skip_name_resolve`).
"""

import ipaddress
import re
from functools import cache, lru_cache

EVERYWHERE = "%"
_LONGEST = 255
_IPV6_PREFIX = re.compile(r"([1-9a-f][0-9a-f]{0,3}:){1,7}%")


def canonical(host: str) -> str:
    """The form under which the engine matches a host; ValueError for what could never match a client."""
    said = host.lower()
    if "/" in said:
        return _network(host, *said.split("/", 1))
    if "%" in said or "_" in said:
        return _pattern(host, said)
    return _address(host, said)


def _address(host: str, said: str) -> str:
    try:
        address = ipaddress.ip_address(said)
    except ValueError:
        raise ValueError(f"host '{host}' is not an IP address (% stands for any part)") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if int(address) < 2**32 and int(address) > 1:
            raise ValueError(f"host '{host}' is an address that no client has")
    return str(address)


def _network(host: str, base: str, mask: str) -> str:
    if ":" in base:
        raise ValueError(
            f"host '{host}': networks are of IPv4 alone; for IPv6, write the first groups and % (2001:db8:%)"
        )
    try:
        address = ipaddress.IPv4Address(base)
        bits = _bits(mask)
    except ValueError:
        raise ValueError(f"host '{host}' is not an IPv4 network, like 10.0.0.0/24 or 10.0.0.0/255.255.255.0") from None
    network = ipaddress.IPv4Network((int(address), bits), strict=False)
    if network.network_address != address:
        raise ValueError(f"host '{host}' has bits set below its netmask; write '{network}'")
    if bits == 32:
        return str(address)
    return EVERYWHERE if bits == 0 else f"{address}/{network.netmask}"


def _bits(mask: str) -> int:
    if re.fullmatch(r"[0-9]{1,2}", mask) and int(mask) <= 32:
        return int(mask)
    number = int(ipaddress.IPv4Address(mask))
    bits = number.bit_count()
    if number != (2**bits - 1) << (32 - bits):
        raise ValueError("its bits are not contiguous")
    return bits


def _pattern(host: str, said: str) -> str:
    short = re.sub("%+", "%", said)
    if ":" in short:
        if _IPV6_PREFIX.fullmatch(short) and short.count(":") <= 7:
            return short
        raise ValueError(f"host '{host}': % stands for the last groups of an IPv6 address alone, like 2001:db8:%")
    if len(short) > _LONGEST or not re.fullmatch("[0-9.%_]+", short) or not _fits_some(short):
        raise ValueError(f"host '{host}' matches no IP address")
    return short


def _fits_some(pattern: str) -> bool:
    """Whether any IPv4 address is matched: walk through the pattern with the address that it has matched so far."""

    @cache
    def rest(at: int, dots: int, part: str) -> bool:
        if at == len(pattern):
            return dots == 3 and part != ""
        sign = pattern[at]
        signs = ".0123456789" if sign in "%_" else sign
        if sign == "%" and rest(at + 1, dots, part):
            return True
        after = at if sign == "%" else at + 1
        return any(_goes_on(each, dots, part) and rest(after, *_step(each, dots, part)) for each in signs)

    return rest(0, 0, "")


def _goes_on(sign: str, dots: int, part: str) -> bool:
    if sign == ".":
        return part != "" and dots < 3
    return part != "0" and int(part + sign) <= 255


def _step(sign: str, dots: int, part: str) -> tuple[int, str]:
    return (dots + 1, "") if sign == "." else (dots, part + sign)


def matches(host: str, client: str) -> bool:
    """Whether the engine lets a client from this address in under an account of this host."""
    network = _of_mask(host)
    if network is not None:
        try:
            return ipaddress.IPv4Address(client) in network
        except ValueError:
            return False
    return like(host, client, anycase=True)


def covers(wide: str, narrow: str) -> bool:
    """Whether every client of one host is one of the other."""
    if wide in (narrow, EVERYWHERE, ""):
        return True
    network, inner = _of_mask(wide), _of_mask(narrow)
    if network is not None:
        return inner.subnet_of(network) if inner is not None else matches(wide, narrow)
    if inner is None:
        return like(wide, narrow, anycase=True)  # wildcards of the narrow one are just signs to the wide one
    whole = inner.prefixlen // 8
    return whole > 0 and like(wide, ".".join(str(inner.network_address).split(".")[:whole]) + ".%", anycase=True)


def _of_mask(host: str) -> ipaddress.IPv4Network | None:
    base, slash, mask = host.partition("/")
    if not slash:
        return None
    try:
        return ipaddress.IPv4Network((int(ipaddress.IPv4Address(base)), _bits(mask)), strict=False)
    except ValueError:
        return None


def like(pattern: str, value: str, *, anycase: bool = False) -> bool:
    """Whether a pattern with `%` and `_` matches all of a value; a backslash takes a wildcard's meaning away."""
    return _form(pattern, anycase).fullmatch(value) is not None


@lru_cache(1024)
def _form(pattern: str, anycase: bool) -> re.Pattern[str]:
    parts = re.findall(r"\\.|[^\\]|\\", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    form = "".join(wild.get(each) or re.escape(each[-1]) for each in parts)
    return re.compile(form, re.DOTALL | (re.IGNORECASE if anycase else 0))
