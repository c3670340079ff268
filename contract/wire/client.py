"""The Temporal side of every process: address, TLS, data converter."""

from collections.abc import Mapping
from functools import cache

from temporalio.client import Client, TLSConfig
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.converter import DataConverter
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from contract.keys.keyring import Keyring
from contract.settings import TemporalSettings
from contract.wire.codec import CofferPayloadConverter, ForgivingFailures, data_converter

PROJECT_ID = SearchAttributeKey.for_keyword("ProjectId")
INSTANCE_ID = SearchAttributeKey.for_keyword("InstanceId")
CLUSTER_ID = SearchAttributeKey.for_keyword("ClusterId")
OPERATION_ID = SearchAttributeKey.for_keyword("OperationId")
DATASTORE = SearchAttributeKey.for_keyword("Datastore")
REQUEST_ID = SearchAttributeKey.for_keyword("RequestId")
INSTANCE_NAME = SearchAttributeKey.for_keyword("InstanceName")
SEARCH_ATTRIBUTES = (PROJECT_ID, INSTANCE_ID, INSTANCE_NAME, CLUSTER_ID, OPERATION_ID, DATASTORE, REQUEST_ID)


def found_by(values: Mapping[str, str]) -> TypedSearchAttributes:
    """Search attributes by name; empty ones are left out."""
    keys = {SearchAttributeKey.for_keyword(name): value for name, value in values.items() if value}
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in keys.items()])


async def connect(settings: TemporalSettings, keyring: Keyring, *, lazy: bool = False) -> Client:
    """Connect a control-plane process. `lazy`: dial at the first call, so that the process starts without Temporal."""
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        tls=_tls(settings),
        data_converter=data_converter(keyring),
        runtime=quiet_runtime(),
        lazy=lazy,
    )


async def connect_plain(settings: TemporalSettings) -> Client:
    """Connect a process that holds no key of the control plane; what it sends is in clear, and must be no secret."""
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        tls=_tls(settings),
        data_converter=DataConverter(
            payload_converter_class=CofferPayloadConverter, failure_converter_class=ForgivingFailures
        ),
        runtime=quiet_runtime(),
        lazy=True,
    )


@cache
def quiet_runtime() -> Runtime:
    """The SDK's runtime, one per process: warnings of its core alone are logged, nothing of the machine is reported."""
    filters = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=filters)), disable_environment_info=True)


def _tls(settings: TemporalSettings) -> TLSConfig | bool:
    if settings.temporal_tls_ca is None:
        return False
    cert, key = settings.temporal_tls_cert, settings.temporal_tls_key
    return TLSConfig(
        server_root_ca_cert=settings.temporal_tls_ca.read_bytes(),
        client_cert=cert.read_bytes() if cert else None,
        client_private_key=key.read_bytes() if key else None,
    )
