"""What names and secrets may look like, whatever the engine: a superset of Trove's rules that quoting cannot break."""

import re
import unicodedata

from contract.domain.accounts import NewDatabase

_FORBIDDEN = frozenset("'\"`\\;,/")  # as Trove has it for users; `/` would end a segment of a path
_INVISIBLE = frozenset(
    {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
)  # controls, direction marks, halves and signs that are none
_PASSWORD_MAX = 256


def check_name(what: str, name: str, longest: int, *, characters: bool = False) -> None:
    """Refuse what an engine does not take, or a reader cannot see; `longest` is in bytes, or in characters."""
    if not name:
        raise ValueError(f"{what} is empty")
    size, unit = (len(name), "characters") if characters else (len(name.encode(errors="replace")), "bytes")
    if size > longest:
        raise ValueError(f"{what} '{name}' is longer than {longest} {unit}")
    if name != name.strip():
        raise ValueError(f"{what} '{name}' starts or ends with a space")
    if name in (".", ".."):
        raise ValueError(f"{what} '{name}' cannot be part of a URL")
    if any(each in _FORBIDDEN or unicodedata.category(each) in _INVISIBLE for each in name):
        raise ValueError(f"{what} {name!r} is not valid: it holds one of ' \" ` \\ ; , / or a sign that cannot be seen")


def check_reserved(what: str, name: str, reserved: frozenset[str]) -> None:
    """Refuse the engine's own and ours, however they are capitalised."""
    if name.lower() in {each.lower() for each in reserved}:
        raise ValueError(f"{what} '{name}' is reserved")


def check_charset(database: NewDatabase, known: frozenset[str] | set[str]) -> None:
    """Refuse character sets that the engine does not have."""
    if database.character_set is not None and database.character_set not in known:
        raise ValueError(f"unknown character set '{database.character_set}'")


def check_basic_plane(what: str, name: str) -> None:
    """Refuse signs beyond U+FFFF, for engines that keep names in two bytes a sign."""
    if any(ord(each) > 0xFFFF for each in name):
        raise ValueError(f"{what} '{name}' has a character that this datastore cannot keep in names")


def check_file_name(what: str, name: str) -> None:
    """Refuse what is too long as a folder's name: MariaDB writes signs other than letters, digits and _ with five."""
    if len(re.sub(r"[^A-Za-z0-9_]", "@0000", name)) > 255:
        raise ValueError(f"{what} '{name}' is too long: signs other than letters, digits and _ count five times in 255")


def check_secret(password: str) -> None:
    """Refuse empty passwords, very long ones, and control characters. The value never appears in the message."""
    if not password:
        raise ValueError("password is empty")
    if len(password) > _PASSWORD_MAX:
        raise ValueError(f"password is longer than {_PASSWORD_MAX} characters")
    if any(ord(each) < 32 or ord(each) == 127 for each in password):
        raise ValueError("password contains control characters")
