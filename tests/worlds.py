"""A plugin of pytest: the world that runbooks are tested in, one a session, with a Temporal server and a gateway of its own."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from alembic import command

from contract.keys.keyring import MasterKeyring
from records.__main__ import alembic_config
from records.datastores import Catalogue, CatalogueDatastore, CatalogueVersion, seed
from records.engine import connect
from records.reads import Reader
from records.settings import RecordsSettings
from tests.gateway_process import TestGateway, running_gateway
from tests.guests import make_template
from tests.runbooks.world import Faults, World, workers
from tests.stack import RunningStack
from tests.temporal import TemporalServer, temporal_server

DATABASE = "runbooks"


@pytest.fixture(scope="session")
def world_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A Temporal server of our own, for the stack's workers must not take our steps."""
    with temporal_server(tmp_path_factory.mktemp("temporal"), MasterKeyring.of(b"r" * 32)) as running:
        yield running


@pytest.fixture(scope="session")
def world_records(stack: RunningStack) -> str:
    """A database of our own in the stack's PostgreSQL."""
    stack.sql(f"CREATE DATABASE {DATABASE}")
    os.environ["PGPASSFILE"] = str(stack.settings.secrets / "pgpass")
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(stack.settings.secrets / "clouds.yaml")
    url = f"postgresql+psycopg://coffer@127.0.0.1:{stack.settings.records_port}/{DATABASE}"
    command.upgrade(alembic_config(url), "head")
    return url


@pytest.fixture(scope="session")
def world_gateway(
    world_server: TemporalServer, world_records: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestGateway]:
    """The door that the guests of this world knock at."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(
        folder, world_server.keyring, temporal=world_server.address, records_url=world_records
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_world(
    stack: RunningStack, world_server: TemporalServer, world_gateway: TestGateway, world_records: str
) -> AsyncIterator[World]:
    """Everything, started."""
    engine = connect(RecordsSettings(records_url=world_records))
    async with engine.begin() as conn:
        version = CatalogueVersion(name="15", image="quiet", default=True)
        patched = CatalogueVersion(name="15-patched", number="15", image="quiet-again")
        next_one = CatalogueVersion(name="16", image="quiet-again")
        versions = (version, patched, next_one)
        catalogue = CatalogueDatastore(name="postgresql", manager="postgresql", versions=versions)
        await seed(conn, Catalogue(datastores=(catalogue,)))
    stack.sql("INSERT INTO quotas (project_id, resource, ceiling) SELECT 'p-of-the-test', r, -1 "
              "FROM unnest(ARRAY['instances', 'volumes', 'ram']) r", database=DATABASE)  # fmt: skip
    reader = Reader(engine, RecordsSettings().default_quotas())
    client = await world_server.client()
    template = make_template()
    world = World(stack, world_server, world_gateway, client, engine, reader, Faults(), template, DATABASE)
    async with workers(world):
        yield world
    await engine.dispose()
    shutil.rmtree(template)
