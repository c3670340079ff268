"""What administrators ask of a guest itself, whatever its engine does."""

from abc import ABC, abstractmethod

from pydantic import Field
from temporalio import activity

from contract.domain.fact import Fact, Number


class Diagnostics(Fact):
    """The guest's own process; sizes in KiB, as the kernel tells them."""

    version: str = Field(max_length=200)
    threads: Number
    fd_size: Number
    vm_size: Number
    vm_peak: Number
    vm_rss: Number
    vm_hwm: Number


class Hardware(Fact):
    """What the server has; memory in KiB."""

    mem_total: Number
    num_cpus: Number


class Inspection(ABC):
    """Looks, changes nothing, and needs no engine."""

    @abstractmethod
    @activity.defn
    def get_diagnostics(self) -> Diagnostics: ...

    @abstractmethod
    @activity.defn
    def get_hardware(self) -> Hardware: ...

    @abstractmethod
    @activity.defn
    def ping(self) -> None:
        """Answer."""
