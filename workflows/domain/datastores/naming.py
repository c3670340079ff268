"""What names and secrets may look like, whatever the engine: a superset of Trove's rules that quoting cannot break."""

import ipaddress
import re

from workflows.domain.accounts import NewDatabase

_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_ .?#@$+=~^-]*$")
_HOST_LABELS = re.compile(r"^[A-Za-z0-9_%.:/-]{1,255}$")
_PASSWORD_MAX = 256


def check_name(what: str, name: str, longest: int) -> None:
    """Refuse what no engine takes, or what would need more than quoting: quotes, backslashes, commas, control characters."""
    if not name:
        raise ValueError(f"{what} is empty")
    if len(name.encode()) > longest:
        raise ValueError(f"{what} '{name}' is longer than {longest} bytes")
    if name != name.strip():
        raise ValueError(f"{what} '{name}' starts or ends with a space")
    if not _NAME.match(name):
        raise ValueError(
            f"{what} '{name}' is not valid: letters, digits, and _ . ? # @ $ + = ~ ^ - or spaces inside; "
            "it starts with a letter, a digit or _"
        )


def check_reserved(what: str, name: str, reserved: frozenset[str]) -> None:
    """Refuse the engine's own and ours, however they are capitalised."""
    if name.lower() in {each.lower() for each in reserved}:
        raise ValueError(f"{what} '{name}' is reserved")


def check_charset(database: NewDatabase, known: frozenset[str] | set[str]) -> None:
    """Refuse character sets that the engine does not have."""
    if database.character_set is not None and database.character_set not in known:
        raise ValueError(f"unknown character set '{database.character_set}'")


def check_host(host: str) -> None:
    """Refuse what is neither an address, nor one with % wildcards, nor address/netmask."""
    if host == "%":
        return
    address, _, mask = host.partition("/")
    try:
        ipaddress.ip_address(address.replace("%", "1"))
        if mask:
            ipaddress.ip_network(f"{address}/{mask}", strict=False)
    except ValueError:
        wildcard = re.fullmatch(r"(\d{1,3}\.){0,3}%", host)
        if not (wildcard and _HOST_LABELS.match(host)):
            raise ValueError(f"host '{host}' is not an IP address (% stands for any part)") from None


def check_secret(password: str) -> None:
    """Refuse empty passwords, very long ones, and control characters. The value never appears in the message."""
    if not password:
        raise ValueError("password is empty")
    if len(password) > _PASSWORD_MAX:
        raise ValueError(f"password is longer than {_PASSWORD_MAX} characters")
    if any(ord(each) < 32 or ord(each) == 127 for each in password):
        raise ValueError("password contains control characters")
