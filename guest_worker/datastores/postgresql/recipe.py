"""What an image of PostgreSQL is made of."""

from pathlib import Path

from guest_worker.datastores.recipe import Recipe


def version(prefix: str = "") -> str:
    """The newest major version that is installed: 15."""
    found = Path(f"{prefix}/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda each: int(each.parts[-3]), default=None)
    if newest is None:
        raise FileNotFoundError("postgres is not installed")
    return newest.parts[-3]


RECIPE = Recipe(
    packages={"postgresql": lambda: any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))},
    programs=("postgres", "initdb", "pg_basebackup", "pg_verifybackup", "tar"),
    version=version,
    # bitcode lets the JIT compiler inline functions of the server into a query's code; it compiles without, too
    needless=("usr/lib/postgresql/*/lib/bitcode", "usr/share/postgresql/*/man"),
)
