"""The facts of PostgreSQL."""

from workflows.domain.accounts import NewDatabase
from workflows.domain.datastores.base import Datastore
from workflows.domain.datastores.naming import check_charset, check_name, check_reserved, check_secret

# Server encodings (PostgreSQL's manual, table "Character Sets"); clients may write them without the underscore.
ENCODINGS = frozenset(
    "EUC_CN EUC_JP EUC_JIS_2004 EUC_KR EUC_TW ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8 KOI8R KOI8U LATIN1 LATIN2 "
    "LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 MULE_INTERNAL SQL_ASCII UTF8 WIN866 WIN874 WIN1250 "
    "WIN1251 WIN1252 WIN1253 WIN1254 WIN1255 WIN1256 WIN1257 WIN1258".split()
)
LOCALES = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8", "en_US.UTF-8", "en_US.utf8"})
NAME_MAX = 63
RESERVED_USERS = frozenset({"os_admin", "postgres", "root", "public", "none"})
RESERVED_DATABASES = frozenset({"os_admin", "postgres", "template0", "template1"})


def _check_database(database: NewDatabase) -> None:
    check_name("database name", database.name, NAME_MAX)
    check_reserved("database name", database.name, RESERVED_DATABASES)
    check_charset(database, ENCODINGS | {each.lower() for each in ENCODINGS} | {"utf-8", "UTF-8"})
    if database.collate is not None and database.collate not in LOCALES:
        raise ValueError(f"unknown collation '{database.collate}'")


def _check_user(name: str, host: str) -> None:
    check_name("user name", name, NAME_MAX)
    check_reserved("user name", name, RESERVED_USERS)
    if name.startswith("pg_"):
        raise ValueError(f"user name '{name}' is reserved: it starts with 'pg_'")
    if host != "%":
        raise ValueError(f"host '{host}' is not supported by this datastore: only '%'")


POSTGRESQL = Datastore(
    manager="postgresql",
    port=5432,
    reserved_users=RESERVED_USERS,
    reserved_databases=RESERVED_DATABASES,
    check_database=_check_database,
    check_user=_check_user,
    check_password=check_secret,
)
