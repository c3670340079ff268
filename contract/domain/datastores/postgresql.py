"""The facts of PostgreSQL. What encodings and locales a version takes is in `data/`, as the engine itself answered.

`python -m guest_worker.datastores.postgresql.facts` writes such a file.
"""

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

from contract.domain.accounts import NewDatabase
from contract.domain.datastores.base import Datastore, EnginePort, LogKind
from contract.domain.datastores.naming import check_name, check_reserved, check_secret

DATA = Path(__file__).parent / "data"
DEFAULT_SERIES = "15"
NAME_MAX = 63
BACKUP_USER = "coffer_backup"  # there while a backup is made
RESERVED_USERS = frozenset({"os_admin", "postgres", "root", "public", "none", BACKUP_USER})
RESERVED_DATABASES = frozenset({"os_admin", "postgres", "template0", "template1"})
OWNER_PREFIX = "coffer_owner_"  # roles that own databases
DELETED_PREFIX = "coffer_deleted_"  # users that were deleted and still own something
RESERVED_PREFIXES = ("pg_", OWNER_PREFIX, DELETED_PREFIX)


@cache
def _data(version: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DATA / f"postgresql-{version}.json").read_text())
    return read


def _letters(name: str) -> str:
    return "".join(each for each in name.lower() if each.isascii() and each.isalnum())


def same_locale(name: str) -> str:
    """A locale as the C library looks it up: the name of its encoding without case and punctuation."""
    language, dot, encoding = name.partition(".")
    return f"{language}.{_letters(encoding)}" if dot else language


def encoding_of(database: NewDatabase, version: str = DEFAULT_SERIES) -> tuple[str, str]:
    """Encoding and locale that a new database gets; ValueError when the engine would not take them together.

    Without a locale it is one that fits: that of most encodings is C, which compares bytes.
    """
    data = _data(version)
    encoding = "UTF8"
    if database.character_set is not None:
        encoding = data["encodings"].get(_letters(database.character_set))
        if encoding is None:
            raise ValueError(f"unknown character set '{database.character_set}'")
    if database.collate is None:
        return encoding, "C.UTF-8" if encoding == "UTF8" else "C"
    known = {same_locale(name): encodings for name, encodings in data["locales"].items()}
    if same_locale(database.collate) not in known:
        raise ValueError(f"unknown collation '{database.collate}'")
    if encoding not in known[same_locale(database.collate)]:
        raise ValueError(f"collation '{database.collate}' does not belong to character set '{encoding}'")
    return encoding, database.collate


def is_reserved_user(name: str) -> bool:
    """Whether a role is the engine's or ours, which no tenant sees or names."""
    return name in RESERVED_USERS or name.startswith(RESERVED_PREFIXES)


def _check_database(version: str, database: NewDatabase) -> None:
    check_name("database name", database.name, NAME_MAX)
    check_reserved("database name", database.name, RESERVED_DATABASES)
    encoding_of(database, version)


def _check_user(name: str, host: str) -> None:
    check_name("user name", name, NAME_MAX)
    if is_reserved_user(name.lower()):
        raise ValueError(f"user name '{name}' is reserved")
    if host != "%":
        raise ValueError(f"host '{host}' is not supported by this datastore: only '%'")


def series() -> list[str]:
    """The versions that there are data of."""
    return sorted(path.stem.removeprefix("postgresql-") for path in DATA.glob("postgresql-*.json"))


def _facts(version: str, **more: object) -> Datastore:
    return Datastore(
        manager="postgresql",
        ports=(EnginePort(number=5432),),
        engine_logs={"general": LogKind.USER},
        reserved_users=RESERVED_USERS,
        reserved_databases=RESERVED_DATABASES,
        check_database=partial(_check_database, version),
        check_user=_check_user,
        check_password=check_secret,
        upgrades={"15": ("17",)},
        **more,
    )


POSTGRESQL = _facts(DEFAULT_SERIES, series={each: _facts(each) for each in series()})
