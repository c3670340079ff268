"""Clients of recordings."""

from dataclasses import replace

from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadConverter

from contract.wire.codec import ForgivingFailures
from deploy.temporal import NAMESPACE
from tests.temporal import TemporalServer


class WithoutStacks(ForgivingFailures):
    """Failures as ever, but without the places of this machine's files."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Forget where it was raised, at every level."""
        level: BaseException | None = exception
        while level is not None:
            level.__traceback__ = None
            level = level.__cause__
        super().to_failure(exception, payload_converter, failure)


async def connect(server: TemporalServer, converter: DataConverter) -> Client:
    """A client that tells nothing of this machine."""
    converter = replace(converter, failure_converter_class=WithoutStacks)
    return await Client.connect(server.address, namespace=NAMESPACE, data_converter=converter, identity="recorder")
