"""The facts of MariaDB. What character sets and collations a version has is in `data/`, written by the engine itself.

`python -m guest_worker.datastores.mariadb.facts` writes such a file.
"""

import json
from functools import partial
from pathlib import Path

from contract.domain.accounts import NewDatabase
from contract.domain.datastores import hosts
from contract.domain.datastores.base import Datastore, EnginePort, LogKind
from contract.domain.datastores.naming import (
    check_basic_plane,
    check_file_name,
    check_name,
    check_reserved,
    check_secret,
)

DATA = Path(__file__).parent / "data"
DEFAULT_SERIES = "10.11"
DATABASE_MAX = 64  # characters
USER_MAX = 128  # characters
KEPT = "coffer_definer_"  # accounts that nobody logs in to, and that things of former users run as
RESERVED_USERS = frozenset({"os_admin", "root", "mysql", "mariadb.sys", "PUBLIC"})
RESERVED_DATABASES = frozenset({"mysql", "information_schema", "performance_schema", "sys", "lost+found"})
Collations = dict[str, frozenset[str]]  # by character set, under each name that the engine knows


def series(manager: str = "mariadb") -> list[str]:
    """The versions that there are data of."""
    return sorted(path.stem.removeprefix(f"{manager}-") for path in DATA.glob(f"{manager}-*.json"))


def collations_of(version: str, manager: str = "mariadb") -> Collations:
    """The collations of each character set of a version."""
    read = json.loads((DATA / f"{manager}-{version}.json").read_text())
    return {charset: frozenset(names) for charset, names in read["collations"].items()}


def check_database(collations: Collations, database: NewDatabase) -> None:
    """Refuse names, character sets and collations that the engine, or MySQL, does not take."""
    check_name("database name", database.name, DATABASE_MAX, characters=True)
    check_grantable(database.name)
    check_basic_plane("database name", database.name)
    check_file_name("database name", database.name)
    check_reserved("database name", database.name, RESERVED_DATABASES)
    if database.name.startswith("#mysql50#"):
        raise ValueError(f"database name '{database.name}' is reserved")
    charset = _known_charset(collations, database.character_set)
    if database.collate is None:
        return
    collate = database.collate.lower()
    collate = collate.replace("utf8_", "utf8mb3_", 1) if collate.startswith("utf8_") else collate
    owners = [each for each, names in collations.items() if collate in names]
    if not owners:
        raise ValueError(f"unknown collation '{database.collate}'")
    if charset is not None and charset not in owners:
        raise ValueError(f"collation '{database.collate}' does not belong to character set '{database.character_set}'")


def check_grantable(name: str) -> None:
    """A grant on one database names it with a backslash before each wildcard, and that may be no longer than a name."""
    if len(name) + name.count("_") + name.count("%") > DATABASE_MAX:
        raise ValueError(
            f"database name '{name}' is longer than {DATABASE_MAX} characters, with each _ and % counted twice"
        )


def _known_charset(collations: Collations, said: str | None) -> str | None:
    """The engine's name of a character set. `utf8` is utf8mb3 there, unless the server's `old_mode` is changed."""
    if said is None:
        return None
    charset = {"utf8": "utf8mb3"}.get(said.lower(), said.lower())
    if charset not in collations:
        raise ValueError(f"unknown character set '{said}'")
    return charset


def check_user(longest: int, reserved: frozenset[str], name: str, host: str) -> None:
    """Refuse names of so many characters and hosts that MariaDB, or MySQL, does not take."""
    check_name("user name", name, longest, characters=True)
    check_basic_plane("user name", name)
    check_reserved("user name", name, reserved)
    if name.lower().startswith(KEPT):
        raise ValueError(f"user name '{name}' is reserved: it starts with '{KEPT}'")
    hosts.canonical(host)


def facts(
    manager: str, default: str, longest_user: int, reserved_users: frozenset[str], upgrades: dict[str, tuple[str, ...]]
) -> Datastore:
    """The facts of MariaDB, or of MySQL, in each series that there are collations of."""

    def of(version: str, **more: object) -> Datastore:
        return Datastore(
            manager=manager,
            ports=(EnginePort(number=3306),),
            engine_logs={"error": LogKind.SYS, "general": LogKind.USER, "slow_query": LogKind.USER},
            hosts=True,
            builtin_tls=True,
            needs_tls=manager == "mysql",
            reserved_users=reserved_users,
            reserved_databases=RESERVED_DATABASES,
            check_database=partial(check_database, collations_of(version, manager)),
            check_user=partial(check_user, longest_user, reserved_users),
            check_password=check_secret,
            canonical_host=hosts.canonical,
            upgrades=upgrades,
            **more,
        )

    return of(default, series={each: of(each) for each in series(manager)})


MARIADB = facts("mariadb", DEFAULT_SERIES, USER_MAX, RESERVED_USERS, {"10.11": ("11.8",)})
