"""The facts of MariaDB (sources: the server's `SHOW COLLATION`, and its limits on identifiers)."""

from workflows.domain.accounts import NewDatabase
from workflows.domain.datastores.base import Datastore
from workflows.domain.datastores.naming import check_charset, check_host, check_name, check_reserved, check_secret

# Character sets and the prefixes of their collations; `binary` is the one that is also a collation.
CHARACTER_SETS = frozenset(
    "armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb2312 gbk "
    "geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 tis620 ucs2 "
    "ujis utf16 utf16le utf32 utf8 utf8mb3 utf8mb4".split()
)
COLLATIONS = frozenset(
    "bin general_ci general_cs general_nopad_ci nopad_bin swedish_ci swedish_nopad_ci german1_ci german2_ci danish_ci "
    "spanish_ci spanish2_ci unicode_ci unicode_520_ci unicode_nopad_ci unicode_520_nopad_ci icelandic_ci latvian_ci "
    "romanian_ci slovenian_ci polish_ci polish_nopad_ci estonian_ci turkish_ci czech_ci czech_cs slovak_ci "
    "lithuanian_ci lithuanian_cs roman_ci persian_ci esperanto_ci hungarian_ci sinhala_ci croatian_ci vietnamese_ci "
    "myanmar_ci thai_520_w2 english_ci chinese_ci japanese_ci korean_ci bulgarian_ci ukrainian_ci latvian1_ci "
    "latvian2_ci".split()
)
DATABASE_MAX = 64
USER_MAX = 80
RESERVED_USERS = frozenset({"os_admin", "root", "mysql", "mariadb.sys", "PUBLIC"})
RESERVED_DATABASES = frozenset({"mysql", "information_schema", "performance_schema", "sys"})


def _check_database(database: NewDatabase) -> None:
    check_name("database name", database.name, DATABASE_MAX)
    check_reserved("database name", database.name, RESERVED_DATABASES)
    check_charset(database, CHARACTER_SETS)
    if database.collate is None:
        return
    charset, _, rest = database.collate.partition("_")
    known = database.collate == "binary" or (charset in CHARACTER_SETS and rest in COLLATIONS)
    if not known:
        raise ValueError(f"unknown collation '{database.collate}'")
    if database.character_set is not None and charset not in _alike(database.character_set):
        raise ValueError(f"collation '{database.collate}' does not belong to character set '{database.character_set}'")


def _alike(character_set: str) -> set[str]:
    return {"utf8", "utf8mb3"} if character_set in ("utf8", "utf8mb3") else {character_set}


def _check_user(name: str, host: str) -> None:
    check_name("user name", name, USER_MAX)
    check_reserved("user name", name, RESERVED_USERS)
    check_host(host)


MARIADB = Datastore(
    manager="mariadb",
    port=3306,
    hosts=True,
    reserved_users=RESERVED_USERS,
    reserved_databases=RESERVED_DATABASES,
    check_database=_check_database,
    check_user=_check_user,
    check_password=check_secret,
)
