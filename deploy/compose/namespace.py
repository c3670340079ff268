"""`python -m deploy.compose.namespace`: make Coffer's namespace and its search attributes. It may be repeated."""

import asyncio
import logging
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from contract.keys.keyring import NoKeys
from contract.logs import log_to_stderr
from contract.process import run
from contract.settings import TemporalSettings
from contract.wire.client import SEARCH_ATTRIBUTES, connect

KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
RETENTION = timedelta(days=30)  # of the histories of ended runs; the records keep what must be kept
PATIENCE = 60  # tries, two seconds apart: a first start makes all shards

log = logging.getLogger(__name__)


class WrongType(Exception):
    """A search attribute has a type that Coffer cannot use; it cannot be changed, only removed by an operator."""


async def prepare(client: Client) -> None:
    """Make what is missing, and prove that it can be used; RPCError while the server does not know it yet."""
    await _make_namespace(client)
    await _add_attributes(client)
    await client.count_workflows(" AND ".join(f"{each.name} = 'none'" for each in SEARCH_ATTRIBUTES))


async def _make_namespace(client: Client) -> None:
    keep = Duration()
    keep.FromTimedelta(RETENTION)
    wanted = RegisterNamespaceRequest(namespace=client.namespace, workflow_execution_retention_period=keep)
    try:
        await client.workflow_service.register_namespace(wanted)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


async def _add_attributes(client: Client) -> None:
    operator = client.operator_service
    there = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    types = {each.name: there.custom_attributes.get(each.name, KEYWORD) for each in SEARCH_ATTRIBUTES}
    wrong = sorted(name for name, kind in types.items() if kind != KEYWORD)
    if wrong:
        raise WrongType(f"search attributes of another type than Keyword: {', '.join(wrong)}")
    missing = {name: KEYWORD for name in types if name not in there.custom_attributes}
    if missing:
        await operator.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )


async def main(stop: asyncio.Event) -> None:
    """Try until it is done, told to stop, or out of patience."""
    settings = TemporalSettings()
    log_to_stderr(settings.log_level)
    for left in reversed(range(PATIENCE)):
        try:
            await prepare(await connect(settings, NoKeys()))  # no key: nothing here carries a payload
        except (RuntimeError, RPCError) as error:  # RuntimeError: nobody listens yet
            if not left or stop.is_set():
                raise
            log.info("not yet: %s", error)
            await asyncio.sleep(2)
        else:
            return


if __name__ == "__main__":
    run(main)
