"""The application: routes, the versions document, the health check, and what they work with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from temporalio.service import RPCError

from api.answers import base as said
from api.context import Services
from api.docs_page import add_docs_page
from api.documented import answers, document
from api.edge import Edge, fault_of
from api.faults import Fault, answer_fault, answer_http_exception
from api.health import Health
from api.keystone import Keystone
from api.openstack.barbican import Barbican
from api.policy import Policy
from api.rate_limits import RateLimits
from api.routes import (
    accounts,
    actions,
    backup_strategies,
    backups,
    catalogue,
    changes,
    configurations,
    instances,
    logs,
    mgmt,
    mgmt_actions,
    mgmt_catalogue,
    mgmt_guest,
    mgmt_parameters,
    missing,
    modules,
    operations,
    parameters,
    ssl,
)
from api.routes.common import counted
from api.settings import ApiSettings
from api.swift.backups import BackupContainers
from api.swift.containers import LogContainers
from contract.keys.keyring import MasterKeyring
from contract.wire.client import connect
from records.backup_reads import BackupReader
from records.engine import connect as connect_records
from records.reads import Reader
from records.requests import Requests
from records.settings import RecordsSettings

# the first match counts: what is implemented stands before what is not
ROUTES = (
    operations,
    instances,
    actions,
    changes,
    ssl,
    accounts,
    logs,
    backups,
    backup_strategies,
    configurations,
    parameters,
    catalogue,
    mgmt,
    mgmt_actions,
    mgmt_catalogue,
    mgmt_guest,
    mgmt_parameters,
    modules,
    missing,
)
DESCRIPTION = "OpenStack Trove's API v1.0, and what Coffer adds: operations, with their steps."


def build(settings: ApiSettings) -> Edge:
    """Return the API; it starts without Temporal, Keystone or the records, and answers 503 where they are needed."""
    app = application(settings)
    return Edge(app, settings, lambda: app.state.keystone)


def application(settings: ApiSettings) -> FastAPI:
    """What stands behind the edge: the routes."""
    app = FastAPI(
        title="Coffer", version="1.0", description=DESCRIPTION, lifespan=_lifespan(settings), redirect_slashes=False,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    add_docs_page(app)
    for each in ROUTES:
        app.include_router(each.router, dependencies=[Depends(counted)])
    app.include_router(configurations.of_instances, dependencies=[Depends(counted)])
    _add_front_page(app)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, _as_bad_request)
    app.add_exception_handler(Fault, answer_fault)
    for kind in (
        RPCError,
        TimeoutError,
        ConnectionError,
        Exception,
    ):  # Exception's answer is sent by the framework itself
        app.add_exception_handler(kind, _as_what_it_is)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _lifespan(settings: ApiSettings) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        keyring = MasterKeyring.read(settings.master_key_file)
        records = RecordsSettings()
        engine = connect_records(records)
        verify = str(settings.keystone_ca) if settings.keystone_ca else True
        async with (
            httpx.AsyncClient(timeout=10, verify=verify, trust_env=False) as http,
            LogContainers.opened(settings, keyring) as logs,
            BackupContainers.opened(settings, keyring) as containers,
        ):
            app.state.keystone = Keystone(http, settings.keystone_url, settings.token_cache_seconds)
            # each answer is one query: a transaction around it would be two more round trips
            reader = Reader(engine.execution_options(isolation_level="AUTOCOMMIT"), records.default_quotas())
            temporal = await connect(settings, keyring, lazy=True)
            app.state.services = Services(
                settings=settings,
                reader=reader,
                requests=Requests(engine),
                health=Health(temporal, reader, http, settings.keystone_url, settings.guest_gateway),
                temporal=temporal,
                keyring=keyring,
                policy=Policy(settings.policy_file),
                rates=RateLimits(settings.rates()),
                backups=BackupReader(reader),
                logs=logs,
                containers=containers,
                barbican=Barbican(http, settings.barbican_url),
            )
            yield
        await engine.dispose()

    return lifespan


def _add_front_page(app: FastAPI) -> None:
    def version(request: Request) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{request.state.base}/v1.0/"}]
        return {"id": "v1.0", "status": "CURRENT", "updated": "2012-08-01T00:00:00Z", "links": links}

    @app.get("/", tags=["versions"], **answers(200, said.Versions, faults=(406,)))
    async def versions(request: Request) -> Any:
        """The versions of the API; needs no token."""
        accept = request.headers.get("accept", "")
        if "version=" in accept and "version=1.0" not in accept:
            raise Fault(406, "version not supported")
        return {"versions": [version(request)]}

    @app.get("/v1.0", tags=["versions"], **answers(200, said.OneVersion, faults=()))
    async def version_document(request: Request) -> Any:
        """This version; needs no token."""
        return {"version": version(request)}

    @app.get(
        "/healthcheck",
        tags=["health"],
        responses={
            200: {"model": said.Health},
            503: {"model": said.Health, "description": "A part of the service is away"},
        },
    )
    async def healthcheck(request: Request) -> JSONResponse:
        """Each part of the service: `ok` or `away`; 503 while one is away. Needs no token."""
        services: Services = request.app.state.services
        parts = await services.health.parts()
        well = all(each == "ok" for each in parts.values())
        return JSONResponse({"status": "ok" if well else "unavailable", **parts}, status_code=200 if well else 503)


async def _as_what_it_is(request: Request, error: Exception) -> JSONResponse:
    return await answer_fault(request, fault_of(error, request.state.request_id))


async def _as_bad_request(request: Request, error: Exception) -> JSONResponse:
    places = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in places)
    return await answer_fault(request, Fault(400, f"Validation error: {said}"))


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = document(app)
    return app.openapi_schema
