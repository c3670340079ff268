"""What an image of PostgreSQL is made of."""

from pathlib import Path

from guest_worker import host
from guest_worker.datastores.recipe import Recipe
from guest_worker.datastores.store import Store

NEWER = "usr/lib/postgresql/17/bin"
OF_A_BACKUP = ("pg_basebackup", "pg_verifybackup", "pg_waldump")  # the last one is started by the second
OF_AN_UPGRADE = (
    "pg_upgrade",
    "pg_controldata",
    "pg_resetwal",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "psql",
    "vacuumdb",
)


def version(prefix: str = "") -> str:
    """The newest major version that is installed: 15."""
    found = Path(f"{prefix}/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda each: int(each.parts[-3]), default=None)
    if newest is None:
        raise FileNotFoundError("postgres is not installed")
    return newest.parts[-3]


def program(name: str, prefix: str = "") -> str:
    """The path of one of the newest version's programs."""
    installed = sorted(Path(f"{prefix}/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
    return host.find_program(name, *(str(each) for each in reversed(installed)))


def programs_of(series: str) -> Path:
    """Where the distribution's own packages have the programs of a series."""
    return Path("/usr/lib/postgresql") / series / "bin"


RECIPE = Recipe(
    packages={"postgresql": lambda: any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))},
    programs=("postgres", "initdb", "pg_basebackup", "pg_verifybackup", "pg_ctl", "pg_upgrade", "tar"),
    newer=(
        Store(
            suite="trixie",
            package="postgresql-17",
            series="17",
            programs=tuple(
                f"{NEWER}/{each}" for each in ("postgres", "initdb", *OF_A_BACKUP, "pg_ctl", *OF_AN_UPGRADE)
            ),
            # the JIT compiler alone is as large as all else; a server without it runs each query
            needless=(
                "usr/lib/*/libLLVM*",
                "usr/lib/*/libz3*",
                "usr/lib/postgresql/17/lib/llvmjit*",
                "usr/lib/postgresql/17/lib/bitcode",
                "usr/share/i18n",
                "usr/share/perl5",
                "usr/sbin",
            ),
        ),
    ),
    needs_older=True,
    version=version,
    # bitcode lets the JIT compiler inline functions of the server into a query's code; it compiles without, too
    needless=("usr/lib/postgresql/*/lib/bitcode", "usr/share/postgresql/*/man"),
)
