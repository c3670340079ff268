"""`python -m records upgrade|downgrade|seed FILE|check`: migrations and the catalogue, for operators."""

import argparse
import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from records.datastores import read_catalogue, seed
from records.engine import connect
from records.settings import RecordsSettings


def alembic_config(url: str) -> Config:
    """Alembic's configuration for the records at `url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


async def seed_from(settings: RecordsSettings, path: Path) -> None:
    """Bring the catalogue in line with a file."""
    engine = connect(settings)
    async with engine.begin() as conn:
        await seed(conn, read_catalogue(path))
    await engine.dispose()


async def check(settings: RecordsSettings) -> None:
    """Say whether the records answer."""
    engine = connect(settings)
    async with engine.connect() as conn:
        await conn.execute(text("SELECT 1"))
    await engine.dispose()


def main() -> None:
    """Do what the command line says."""
    ask = argparse.ArgumentParser(prog="python -m records", description=__doc__)
    verbs = ask.add_subparsers(dest="verb", required=True)
    verbs.add_parser("upgrade", help="bring the tables to this release")
    down = verbs.add_parser("downgrade", help="take migrations back")
    down.add_argument("revision", nargs="?", default="-1", help="a revision, -1 for one step, base for all")
    seeding = verbs.add_parser("seed", help="bring the catalogue of datastores in line with a YAML file")
    seeding.add_argument("file", type=Path)
    verbs.add_parser("check", help="exit 0 when the records answer")
    said = ask.parse_args()
    settings = RecordsSettings()
    config = alembic_config(settings.records_url)
    if said.verb == "upgrade":
        command.upgrade(config, "head")
    elif said.verb == "downgrade":
        command.downgrade(config, said.revision)
    elif said.verb == "seed":
        asyncio.run(seed_from(settings, said.file))
    else:
        asyncio.run(check(settings))


if __name__ == "__main__":
    main()
