"""How health checks reach a gateway: on its own machine from a loopback address that it lets wait for nobody.

No other machine can send from there. IPv6 has one loopback address alone, so a gateway that listens on IPv6 takes
checks on IPv4's loopback too.
"""

import socket

CHECKS_FROM = "127.255.255.254"  # of 127.0.0.0/8, and nobody's first choice
CHECKS_AT = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


def listening(host: str) -> list[str]:
    """What a gateway listens on that is to listen on a host. OSError when there is no such name."""
    return [host] if _addresses(host, socket.AF_INET) else [host, CHECKS_AT]


def route(host: str) -> tuple[str, tuple[str, int] | None]:
    """Where a check of the gateway at a host connects to, and from which address; None is any. OSError as above."""
    host = host.strip("[]")
    address, *_ = _addresses(host, socket.AF_INET) or _addresses(host, socket.AF_INET6) or [host]
    if not _is_here(address):
        return host, None
    return (CHECKS_AT if ":" in address or address in EVERYWHERE else address), (CHECKS_FROM, 0)


def _addresses(host: str, family: socket.AddressFamily) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(place[0]) for kind, _, _, _, place in found if kind == family]


def _is_here(address: str) -> bool:
    """Whether it is of this machine: only such can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as mine:
        try:
            mine.bind((address, 0))
        except OSError:
            return False
    return True
