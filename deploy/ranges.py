"""The addresses of the database servers: a range that nobody on this machine uses, chosen once."""

import hashlib
import json
import shutil
import subprocess
from ipaddress import IPv4Network, ip_interface

from deploy.settings import StackSettings

POOL = IPv4Network("10.160.0.0/11")
LOOPBACK = "127.24.0.0/20"


def guest_subnets(settings: StackSettings) -> list[IPv4Network]:
    """The sixteen /24 networks of the stack's range, or more."""
    return list(IPv4Network(_range(settings)).subnets(new_prefix=24))


def _range(settings: StackSettings) -> str:
    if settings.guest_range:
        return settings.guest_range
    if not settings.isolated:
        return LOOPBACK
    kept = settings.home / "guest-range"
    if not kept.exists():
        kept.write_text(str(choose(str(settings.home))))
    return kept.read_text()


def choose(home: str, among: slice = slice(None)) -> IPv4Network:
    """A range that no route of this machine overlaps; stacks that start at the same time begin at different ones."""
    candidates = list(POOL.subnets(new_prefix=20))[among]
    first = int(hashlib.sha256(home.encode()).hexdigest(), 16) % len(candidates)
    used = _routes()
    for each in candidates[first:] + candidates[:first]:
        if not any(each.overlaps(other) for other in used):
            return each
    return candidates[first]  # a route takes all of the pool: the cloud will say which


def _routes() -> list[IPv4Network]:
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin") or "ip"
    listed = subprocess.run([ip, "-json", "-4", "route", "show", "table", "all"], capture_output=True, text=True)
    found = [
        ip_interface(each["dst"]).network for each in json.loads(listed.stdout or "[]") if each["dst"] != "default"
    ]
    return [each for each in found if isinstance(each, IPv4Network) and each.prefixlen >= 8]
